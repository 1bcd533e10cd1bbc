"""What stands on a network's layers, as parts of which each costs the same at every position."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from vertical_assets.training.modules.fusion import AttentionGate, Fusion
from vertical_assets.training.modules.heads import CrfHead, Head
from vertical_assets.training.modules.interface import Module
from vertical_assets.training.modules.lstm import BiLstm
from vertical_assets.training.modules.model import VerticalModel
from vertical_assets.training.modules.per_text import Sequence, TfidfVector, WordVector
from vertical_assets.training.modules.per_token import BiLstmCrf, Tokens
from vertical_assets.training.planning.layers import FLOAT, HALF, Shape, Way

At = Literal["row", "token", "predicted"]


@dataclass(frozen=True)
class Part:
    """A part of a head.

    Attributes:
        at: where it is computed: once per row, at each token, or at those that are predicted.
        weights: that a position is multiplied with.
        kept: bytes kept for the backward pass.
        dropped: bytes kept besides where there is dropout.
        passing: bytes that its backward pass holds besides.
        backward: operations of its backward pass per operation of its forward pass; 1 where the
            weights are frozen or the inputs need no gradient.
        narrow: `passing` is half of that under autocast.
        workspace: bytes kept besides on a processor where all rows are of one length.
    """

    at: At
    weights: int = 0
    kept: int = 0
    dropped: int = 0
    passing: int = 0
    backward: int = 2
    narrow: bool = False
    workspace: int = 0

    def positions(self, shape: Shape) -> int:
        return {"row": shape.rows, "token": shape.tokens, "predicted": shape.predicted}[self.at]

    def forward_flops(self, shape: Shape) -> int:
        return 2 * self.positions(shape) * self.weights

    def kept_bytes(self, shape: Shape, way: Way) -> int:
        workspace = self.workspace if shape.even and not way.cuda else 0
        return self.positions(shape) * (self.kept + self.dropped + workspace)

    def passing_bytes(self, shape: Shape, way: Way) -> int:
        passing = self.positions(shape) * self.passing
        return passing * HALF // FLOAT if self.narrow and way.half else passing


def classifier(hidden: int, classes: int) -> tuple[Part, ...]:
    """transformers' own: a dense layer's input and output, and logits."""
    return (
        Part("row", hidden * hidden, kept=2 * FLOAT * hidden),
        Part("row", hidden * classes, kept=FLOAT * classes, passing=2 * FLOAT * classes),
    )


def masked_tokens(hidden: int, vocabulary: int, frozen: bool) -> tuple[Part, ...]:
    """A dense layer's input and output, those of its activation and norm, and logits, at masked
    tokens only. A decoder tied to frozen embeddings has no gradient of its own.
    """
    return (
        Part("predicted", hidden * hidden, kept=4 * FLOAT * hidden),
        Part(
            "predicted",
            hidden * vocabulary,
            kept=FLOAT * vocabulary,
            passing=2 * FLOAT * vocabulary,
            backward=1 if frozen else 2,
        ),
    )


def next_tokens(hidden: int, vocabulary: int, frozen: bool) -> tuple[Part, ...]:
    """Logits at all tokens; their logarithmic softmax, in float, at those that are learnt.

    The gradient of the logits is there twice: as chosen, and put back among the others; before
    that, those of the softmax's output and input.
    """
    backward = 1 if frozen else 2
    both = 2 * FLOAT * vocabulary
    return (
        Part("token", hidden * vocabulary, passing=both, backward=backward, narrow=True),
        Part("predicted", kept=FLOAT * vocabulary, passing=both),
    )


def vertical(model: VerticalModel) -> tuple[Part, ...]:
    """Modules, their fusion and the head of a VerticalModel."""
    hidden = int(model.encoder.config.hidden_size)
    parts = [part for module in model.parts for part in _module(module, hidden)]
    widths = [int(module.width) for module in model.parts]
    if model.fusion is not None:
        parts += _fusion(model.fusion, widths, hidden)
        at: At = "row"
    else:
        at = "token" if model.parts[0].per_token else "row"
    return (*parts, *_outputs(model.head, at))


def _module(module: Module, hidden: int) -> list[Part]:
    """One module. Of a type that another distribution registers, the linear layers are known."""
    share = any(isinstance(each, nn.Dropout) and each.p > 0 for each in module.modules())
    lstm = next((each for each in module.modules() if isinstance(each, BiLstm)), None)
    if lstm is not None:
        return [
            _lstm(lstm, hidden, share),
            *(
                [Part("token", kept=2 * FLOAT * lstm.hidden, dropped=2 * lstm.hidden * share)]
                if isinstance(module, BiLstmCrf)
                else []
            ),
        ]
    if isinstance(module, Tokens):
        return [Part("token", dropped=(FLOAT + 1) * hidden * share)]
    if isinstance(module, Sequence):
        dense = Part("row", hidden * hidden, kept=2 * FLOAT * hidden, dropped=hidden * share)
        # The mean: the weights of the tokens, and the gradient of each token's state.
        mean = [Part("token", kept=FLOAT, passing=FLOAT * hidden)]
        return [*(mean if module.pooling == "mean" else []), dense]
    if isinstance(module, TfidfVector):  # looked up and added, not multiplied
        return [Part("row", kept=FLOAT * module.width)]
    at: At = "token" if module.per_token else "row"
    weights = sum(each.weight.numel() for each in module.modules() if isinstance(each, nn.Linear))
    backward = 1 if isinstance(module, WordVector) else 2
    return [Part(at, weights, kept=FLOAT * module.width, backward=backward)]


def _lstm(lstm: BiLstm, hidden: int, share: bool) -> Part:
    """Both directions. Kept are the input and, of each direction and step, four gates, the cell,
    its tanh and the output. Rows of one length go through oneDNN, whose workspace was measured: 6
    times the wider of input and output, 9 times the output, within 5 % (torch 2.13).
    """
    width = 2 * lstm.hidden
    return Part(
        "token",
        4 * width * (hidden + lstm.hidden),
        kept=FLOAT * (hidden + 7 * width),
        dropped=hidden * share,
        passing=FLOAT * (hidden + 6 * width),
        workspace=FLOAT * (12 * max(hidden, lstm.hidden) + 3 * width),
    )


def _fusion(fusion: Fusion, widths: list[int], hidden: int) -> list[Part]:
    """Of each vector its projection, the norm of that, and what the weights are computed from."""
    gate = isinstance(fusion, AttentionGate)
    weights = sum(widths) * hidden + (len(widths) * (hidden + 1) * hidden if gate else 0)
    kept = len(widths) * hidden * (3 if gate else 2)
    return [Part("row", weights, kept=FLOAT * kept, passing=FLOAT * len(widths) * hidden)]


def _outputs(head: Head, at: At) -> tuple[Part, ...]:
    """The linear layer; a random field's sums over all pairs of tags, step by step."""
    width, outputs = head.linear.in_features, head.linear.out_features
    linear = Part(at, width * outputs, kept=FLOAT * outputs, passing=2 * FLOAT * outputs)
    if not isinstance(head, CrfHead):
        return (linear,)
    return (linear, Part("token", kept=FLOAT * outputs * (outputs + 4)))
