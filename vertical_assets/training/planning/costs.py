"""What a training step costs by arithmetic: floating-point operations and memory (SPEC M4).

For encoders of BERT's shape and decoders of Llama's, with scaled dot-product attention. Counts are
of multiplications and additions (2 per weight and token), as in Kaplan et al. 2020 (C = 6 N D) and
PaLM's appendix B, which adds the attention; here exact by layer, with frozen layers, adapters and
heads.
"""

from dataclasses import dataclass

from vertical_assets.training.planning.layers import FLOAT, HALF, Shape, Way
from vertical_assets.training.planning.networks import Network

ADAM_STATES = 2  # exp_avg and exp_avg_sq (Kingma and Ba 2015), kept in float


@dataclass(frozen=True)
class Memory:
    """Bytes by part; `peak` is less than the sum, since activations go as gradients come."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int


def step_flops(network: Network, shape: Shape, way: Way = Way()) -> int:  # noqa: B008  (frozen)
    """Operations of forward and backward pass of one batch.

    Frozen layers have no backward pass; the first layer above frozen ones, or above frozen
    embeddings, needs no gradient of its input. A last layer for the first token alone is a
    FirstTokenLayer.
    """
    layer = network.layer
    whole, short = layer.forward_flops(shape), layer.first_token_flops(shape)
    shortened = _shortened(network, way)
    trained = network.trained_layers - min(shortened, network.trained_layers)
    forward = (network.layers - shortened) * whole + shortened * short
    backward = trained * layer.backward_flops(shape, way)
    if network.trained_layers:
        backward += 2 * shortened * short
    if network.frozen_embeddings and trained:
        backward -= layer.unread_flops(shape)
    elif network.frozen_embeddings and network.trained_layers:
        attention = 4 * shape.tokens * layer.heads * layer.hidden
        backward -= 2 * shape.rows * layer.hidden**2 + attention
    if way.checkpointing:
        backward += trained * whole
    head = sum((1 + part.backward) * part.forward_flops(shape) for part in network.head)
    return forward + backward + head


def six_n_d(network: Network, tokens: int) -> int:
    """Kaplan et al. 2020, equation 2.2: 6 N D, N without embeddings, D tokens; the rule of thumb
    to compare with.
    """
    return 6 * network.layers * network.layer.parameters * tokens


def step_memory(network: Network, shape: Shape, way: Way = Way()) -> Memory:  # noqa: B008  (frozen)
    """Bytes in use in a step with AdamW, from the second step on.

    Weights 4 N, gradients 4 N of what is trained, Adam's states 8 N of it: in float also under
    autocast. Activations: see `Layer.kept` and `Part`. The peak is the largest of: the end of the
    forward pass with the gradients of one of the head's parts; each layer's backward, where the
    activations above are gone and their gradients there; the end, with all gradients; a frozen
    layer's forward.
    """
    share, layer = 1 / way.sharded, network.layer
    trained = network.trained_parameters
    weights, optimizer = FLOAT * network.parameters * share, ADAM_STATES * FLOAT * trained * share
    states, matrix = (FLOAT * n * layer.hidden for n in (shape.tokens, network.vocabulary))
    whole = layer.kept(shape, way)
    kept = states if way.checkpointing else whole
    base = layer.around(shape, network.frozen_embeddings)
    if way.half:  # copies of the weights
        base += HALF * network.layers * layer.parameters
    inner = layer.passing(shape, way)
    again = whole if way.checkpointing else 0
    shortened = min(_shortened(network, way), network.trained_layers)
    trained_layers = network.trained_layers - shortened
    activations = base + trained_layers * kept
    activations += sum(part.kept_bytes(shape, way) for part in network.head)
    activations += shortened * layer.first_token_kept(shape, way)
    peak = float(activations + max(part.passing_bytes(shape, way) for part in network.head))
    gradients = FLOAT * network.trained_head * share
    gradients += matrix * share if network.tied else 0
    gradients += shortened * FLOAT * layer.trained * share
    for left in range(trained_layers, 0, -1):
        peak = max(peak, base + left * kept + again + inner + gradients)
        gradients += FLOAT * layer.trained * share
    every = FLOAT * trained * share
    end = every + 2 * states
    if network.tied:  # the gradients of decoder and lookup, and their sum
        end += 2 * matrix
    if way.sharded > 1:  # undivided while they compute: embeddings and head, a layer at a time
        ends = network.embedding_parameters + network.head_parameters
        learning = trained - network.trained_layers * layer.trained
        peak += FLOAT * (ends + learning + layer.parameters + layer.trained)
    peak = max(peak, end)
    if network.frozen_layers:
        peak = max(peak, layer.forward_only(shape, way))
    if way.per_sample:  # all rows' gradients, and their clipped sum
        peak = max(peak, base + FLOAT * (shape.rows + 1) * trained)
    return Memory(
        weights=int(weights),
        gradients=int(every),
        optimizer=int(optimizer),
        activations=int(activations),
        peak=int(weights + optimizer + peak),
    )


def _shortened(network: Network, way: Way) -> int:
    """How many layers are FirstTokenLayers: the last one or none."""
    return int(network.first_token and not way.per_sample and network.layers > 0)
