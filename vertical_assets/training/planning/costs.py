"""What a training step costs by arithmetic: floating-point operations and memory (SPEC M4).

For encoders of BERT's shape with scaled dot-product attention. Counts are of multiplications and
additions (2 per weight and token), as in Kaplan et al. 2020 (C = 6 N D) and PaLM's appendix B,
which adds the attention; here exact by layer, with frozen layers and prediction heads.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from vertical_assets.training.adaptation.first_token import reads_first_token

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

FLOAT, HALF = 4, 2  # bytes
ADAM_STATES = 2  # exp_avg and exp_avg_sq (Kingma and Ba 2015), kept in float


@dataclass(frozen=True, kw_only=True)
class Network:
    """What costs depend on."""

    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int
    embedding_parameters: int
    layer_parameters: int  # of one layer
    head_parameters: int  # everything else; a tied decoder counts with the embeddings
    outputs: int  # classes, or the vocabulary
    head: Literal["classes", "tokens"]
    hidden_dropout: float
    attention_dropout: float
    frozen_layers: int = 0  # with the embeddings, where not 0
    first_token: bool = False  # the last layer is a FirstTokenLayer

    @property
    def parameters(self) -> int:
        return (
            self.embedding_parameters + self.layers * self.layer_parameters + self.head_parameters
        )

    @property
    def trained_layers(self) -> int:
        return self.layers - self.frozen_layers

    @property
    def trained_parameters(self) -> int:
        embeddings = 0 if self.frozen_layers else self.embedding_parameters
        return embeddings + self.trained_layers * self.layer_parameters + self.head_parameters


@dataclass(frozen=True)
class Shape:
    """Rows x width token ids of one forward pass, and how many positions are predicted."""

    rows: int
    width: int
    predicted: int

    @property
    def tokens(self) -> int:
        return self.rows * self.width


@dataclass(frozen=True)
class Way:
    """How the step is computed."""

    half: bool = False  # bf16 or fp16 autocast over float weights
    cuda: bool = False
    checkpointing: bool = False  # layers are computed again in the backward pass
    sharded: int = 1  # devices that weights, gradients and states are divided among (FSDP)
    per_sample: bool = False  # a gradient of its own for each row (differential privacy)


@dataclass(frozen=True)
class Memory:
    """Bytes by part; `peak` is less than the sum, since activations go as gradients come."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    peak: int


def network_of(
    config: "PreTrainedConfig", head: Literal["classes", "tokens"], outputs: int, frozen: int
) -> Network:
    """The network of a base model's configuration; no weight is loaded (device `meta`).

    Args:
        config: with hidden_size, intermediate_size, num_hidden_layers, num_attention_heads.
        head: a classifier over `outputs`, or prediction of masked tokens.
        outputs: number of classes; for tokens, of the vocabulary.
        frozen: first layers that are not trained.

    Raises:
        ValueError: the model is no encoder of BERT's shape.
    """
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

    with torch.device("meta"):
        if head == "classes":
            config = type(config).from_dict({**config.to_dict(), "num_labels": outputs})
            model = AutoModelForSequenceClassification.from_config(config)
        else:
            model = AutoModelForMaskedLM.from_config(config)
    return network_of_model(model, head, outputs, frozen)


def network_of_model(
    model: "PreTrainedModel", head: Literal["classes", "tokens"], outputs: int, frozen: int
) -> Network:
    """The network of a model that is there, on whatever device; see `network_of`."""
    base, config = model.base_model, model.config
    if not hasattr(base, "embeddings") or not hasattr(getattr(base, "encoder", None), "layer"):
        raise ValueError(
            f"{type(model).__name__} is no encoder of BERT's shape; the resource plan knows those"
        )
    embeddings = _count(base.embeddings)
    layer = _count(base.encoder.layer[0])
    layers = len(base.encoder.layer)
    return Network(
        layers=layers,
        hidden=config.hidden_size,
        inner=config.intermediate_size,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        embedding_parameters=embeddings,
        layer_parameters=layer,
        head_parameters=_count(model) - embeddings - layers * layer,
        outputs=outputs,
        head=head,
        hidden_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        frozen_layers=min(frozen, layers),
        first_token=head == "classes" and reads_first_token(model),
    )


def without_dropout(network: Network) -> Network:
    """The same network where dropout is off."""
    return replace(network, hidden_dropout=0.0, attention_dropout=0.0)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def step_flops(network: Network, shape: Shape, way: Way = Way()) -> int:
    """Operations of forward and backward pass of one batch.

    A layer's forward: 8 T h^2 for the four projections, 4 T h i for the inner layer, 4 T S h for
    attention (T tokens, rows of S). Backward is twice that for what is trained; the first trained
    layer above frozen ones needs no gradient of its input; attention by a fused kernel is computed
    again (2.5 instead of 2). Frozen layers have none. A last layer for the first token alone has
    the linear parts for one token per row, and 4 T n h for the attention of its n heads to all.
    """
    tokens, h = shape.tokens, network.hidden
    per_token = 8 * h * h + 4 * h * network.inner
    whole = tokens * (per_token + 4 * shape.width * h)
    short = shape.rows * per_token + 4 * tokens * network.heads * h
    shortened = _shortened(network, way)
    dense = 2 * shape.predicted * h * h
    outputs = 2 * shape.predicted * h * network.outputs
    forward = (network.layers - shortened) * whole + shortened * short + dense + outputs
    trained = network.trained_layers - min(shortened, network.trained_layers)
    backward = 2 * trained * whole + 2 * dense
    if _fused(network, way):
        backward += trained * 2 * tokens * shape.width * h
    if network.trained_layers:
        backward += 2 * shortened * short
    # A decoder tied to frozen embeddings has no gradient of its own.
    backward += (1 if network.head == "tokens" and network.frozen_layers else 2) * outputs
    if network.frozen_layers and trained:
        backward -= 3 * 2 * tokens * h * h
    elif network.frozen_layers and network.trained_layers:
        backward -= 2 * shape.rows * h * h + 4 * tokens * network.heads * h
    if way.checkpointing:
        backward += trained * whole
    return int(forward + backward)


def six_n_d(network: Network, tokens: int) -> int:
    """Kaplan et al. 2020, equation 2.2: 6 N D, N without embeddings, D tokens; the rule of thumb
    to compare with.
    """
    return 6 * network.layers * network.layer_parameters * tokens


def step_memory(network: Network, shape: Shape, way: Way = Way()) -> Memory:
    """Bytes in use in a step with AdamW, from the second step on.

    Weights 4 N, gradients 4 N of what is trained, Adam's states 8 N of it: in float also under
    autocast. Activations: see `layer_activations`. The peak is the largest of: the end of the
    forward pass with the last layer's first gradients; each layer's backward, where the activations
    above are gone and their gradients there; the end, with all gradients; a frozen layer's forward.
    """
    share = 1 / way.sharded
    trained = network.trained_parameters
    weights, optimizer = FLOAT * network.parameters * share, ADAM_STATES * FLOAT * trained * share
    layer = layer_activations(network, shape, way)
    kept = FLOAT * shape.tokens * network.hidden if way.checkpointing else layer
    # Sum and normalised sum of the embeddings; the last layer's output; half copies of weights.
    base = FLOAT * shape.tokens * network.hidden * (3 if not network.frozen_layers else 1)
    if way.half:
        base += HALF * network.layers * network.layer_parameters
    head, head_backward = _head_activations(network, shape)
    # The gradient of the inner layer's output, and of its input, live together in backward.
    inner = (HALF if way.half else FLOAT) * shape.tokens * network.inner
    again = layer if way.checkpointing else 0
    shortened = min(_shortened(network, way), network.trained_layers)
    trained_layers = network.trained_layers - shortened
    activations = base + trained_layers * kept + head
    activations += shortened * first_token_activations(network, shape, way)
    peak = float(activations + head_backward)
    gradients = float(FLOAT * network.head_parameters * share)
    tied = network.head == "tokens" and not network.frozen_layers
    if tied:
        gradients += FLOAT * network.vocabulary * network.hidden * share
    gradients += shortened * FLOAT * network.layer_parameters * share
    for left in range(trained_layers, 0, -1):
        peak = max(peak, base + left * kept + again + inner + gradients)
        gradients += FLOAT * network.layer_parameters * share
    every = FLOAT * trained * share
    end = every + 2 * FLOAT * shape.tokens * network.hidden
    if tied:  # the gradients of decoder and lookup, and their sum
        end += 2 * FLOAT * network.vocabulary * network.hidden
    if way.sharded > 1:  # one layer's whole weights and gradients at a time
        peak += 2 * FLOAT * network.layer_parameters
    peak = max(peak, end)
    if network.frozen_layers:
        peak = max(peak, forward_only(network, shape, way))
    if way.per_sample:  # all rows' gradients, and their clipped sum
        peak = max(peak, base + FLOAT * (shape.rows + 1) * trained)
    return Memory(
        weights=int(weights),
        gradients=int(every),
        optimizer=int(optimizer),
        activations=int(activations),
        peak=int(weights + optimizer + peak),
    )


def layer_activations(network: Network, shape: Shape, way: Way) -> int:
    """Bytes that one trained layer keeps for its backward pass.

    In units of tokens x hidden: the inputs of query/key/value (one tensor; under autocast a half
    copy each), of the attention's output projection and of the inner layer; both norms' inputs
    (always float); query, key and value; dropout's two masks, in bytes. The inner layer: input and
    output of its activation. Attention without a fused kernel (on a processor, which has none with
    dropout) keeps, for each head and pair of positions, the softmax and the dropped softmax in
    float and dropout's mask in bytes.
    """
    unit = shape.tokens * network.hidden
    one = HALF if way.half else FLOAT
    inputs = (5 if way.half else 3) * one
    norms = 2 * FLOAT
    mask = 1 if network.hidden_dropout else 0
    fused = _fused(network, way)
    attention_width = one if way.cuda else FLOAT
    # A fused kernel keeps the log-sum of each head's row too.
    statistics = 4 * FLOAT * shape.tokens + (FLOAT * shape.tokens * network.heads if fused else 0)
    pairs = 0
    if not fused:
        pairs = network.heads * shape.tokens * shape.width
        pairs *= 2 * FLOAT + 1 if network.attention_dropout else FLOAT
    inner = 2 * one * shape.tokens * network.inner
    return unit * (inputs + norms + 2 * mask + 3 * attention_width) + inner + pairs + statistics


def first_token_activations(network: Network, shape: Shape, way: Way) -> int:
    """Bytes that a last layer for the first token alone keeps: the same for one token per row, and
    for each head and token the softmax and what its dropout adds.
    """
    pairs = network.heads * shape.tokens * (2 * FLOAT + 1 if network.attention_dropout else FLOAT)
    return layer_activations(network, Shape(shape.rows, 1, shape.rows), way) + pairs


def forward_only(network: Network, shape: Shape, way: Way) -> int:
    """Bytes that a layer which keeps nothing holds at its highest.

    That is at its inner layer, with input and output of the activation beside the layer's input and
    the attention's output; or in attention, with input, query, key, value and their result. Without
    a fused kernel there are scores, masked scores, softmax and dropped softmax then, and the bits
    that dropout draws.
    """
    one = HALF if way.half else FLOAT
    unit = FLOAT * shape.tokens * network.hidden
    inner = 2 * unit + 2 * one * shape.tokens * network.inner
    pairs = 0 if _fused(network, way) else network.heads * shape.tokens * shape.width
    attention = 7 * unit if not pairs else 6 * unit + (4 * FLOAT + 3) * pairs
    return max(inner, attention)


def _shortened(network: Network, way: Way) -> int:
    """How many layers are FirstTokenLayers: the last one or none."""
    return int(network.first_token and not way.per_sample and network.layers > 0)


def _fused(network: Network, way: Way) -> bool:
    return way.cuda or network.attention_dropout == 0.0


def _head_activations(network: Network, shape: Shape) -> tuple[int, int]:
    """(kept by the head for backward, what its backward holds besides)."""
    dense = FLOAT * shape.predicted * network.hidden
    outputs = FLOAT * shape.predicted * network.outputs
    # Dense input and output; for tokens also the activation's and the norm's.
    kept = (4 if network.head == "tokens" else 2) * dense + outputs
    return kept, 2 * outputs
