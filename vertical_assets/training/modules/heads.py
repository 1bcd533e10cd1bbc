"""Heads: from vectors to logits and a loss, one per kind of task (SPEC T9).

`targets` are a batch's tensors by name; `inference/answers.py` makes answers of logits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss

from vertical_assets.inference.chain import Chain, bio_allowed, bio_tags
from vertical_assets.training.modules.crf import ConditionalRandomField

IGNORED = -100  # cross_entropy's own mark of what has no target
HUBER_DELTA = 1.0  # SPEC T9

Targets = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class LossSettings:
    """What training alone needs: alpha of label smoothing (T9), weights of the labels (E1)."""

    label_smoothing: float = 0.0
    weights: torch.Tensor | None = None


class Head(nn.Module, ABC):
    """A linear layer; `loss` is the kind's own."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.linear(vectors)

    @abstractmethod
    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        """Mean loss of a batch."""


class ClassHead(Head):
    """One of several classes: label-smoothed cross-entropy. `codes`: rows."""

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        return cross_entropy(
            logits.float(),
            targets["codes"],
            settings.weights,
            label_smoothing=settings.label_smoothing,
        )


class LabelsHead(Head):
    """Any number of labels: binary cross-entropy each. `hot`: rows x labels of 0 and 1.

    Smoothing by alpha puts the targets at alpha/2 and 1 - alpha/2.
    """

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        smooth = settings.label_smoothing
        wanted = targets["hot"] * (1 - smooth) + smooth / 2
        return binary_cross_entropy_with_logits(logits.float(), wanted, pos_weight=settings.weights)


class ValueHead(Head):
    """A number: Huber loss with delta 1 on values in standard deviations of the training values,
    so that delta means the same whatever the unit. `values`: rows, in their own unit.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int, outputs: int = 1) -> None:
        super().__init__(width, outputs)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, values: torch.Tensor) -> None:
        """Takes mean and standard deviation of the training values; a constant keeps scale 1."""
        self.mean.copy_(values.mean())
        spread = values.std(correction=0)
        self.scale.copy_(spread if spread > 0 else torch.ones(()))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rows, in the values' own unit."""
        return self.linear(vectors)[:, 0].float() * self.scale + self.mean

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        return huber_loss(
            (logits - self.mean) / self.scale,
            (targets["values"] - self.mean) / self.scale,
            delta=HUBER_DELTA,
        )


class TagHead(Head):
    """A BIO tag per token, each on its own. `places`: rows x tokens of the text, their positions;
    `tags`: their tags, IGNORED behind a row's end.
    """

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        return cross_entropy(
            _at(logits, targets["places"]).flatten(0, 1).float(),
            targets["tags"].flatten(),
            settings.weights,
            ignore_index=IGNORED,
            label_smoothing=settings.label_smoothing,
        )


class CrfHead(Head):
    """BIO tags of a text together: negative log-likelihood, per token. Targets as `TagHead`.

    Label smoothing has no meaning for a sequence's likelihood and is left out.
    """

    def __init__(self, width: int, labels: list[str]) -> None:
        super().__init__(width, len(bio_tags(labels)))
        self.crf = ConditionalRandomField(*bio_allowed(labels))

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        mask = targets["tags"] != IGNORED
        some = mask[:, 0]  # a text of white space alone has no token
        emissions = _at(logits, targets["places"])
        total = self.crf(emissions[some], targets["tags"][some], mask[some]).sum()
        return total / mask.sum().clamp(min=1)

    def chain(self) -> Chain:
        """Scores for decoding."""
        return self.crf.chain()


class AnswerHead(Head):
    """Start and end of an answer. `candidates`: rows x length, true at the text's tokens and at the
    first one, which stands for no answer; `starts`, `ends`: rows, positions.
    """

    def __init__(self, width: int, outputs: int = 2) -> None:
        super().__init__(width, outputs)

    def loss(self, logits: torch.Tensor, targets: Targets, settings: LossSettings) -> torch.Tensor:
        closed = torch.finfo(torch.float32).min
        open_ = logits.float().masked_fill(~targets["candidates"][..., None], closed)
        losses = [
            cross_entropy(open_[..., side], targets[name])
            for side, name in enumerate(("starts", "ends"))
        ]
        return (losses[0] + losses[1]) / 2


def _at(logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Rows x places x outputs."""
    return logits.gather(1, places[..., None].expand(-1, -1, logits.shape[2]))


def head_of(kind: str, width: int, labels: list[str], chained: bool) -> Head:
    """The head of a kind of task."""
    if kind == "entities":
        return CrfHead(width, labels) if chained else TagHead(width, len(bio_tags(labels)))
    if kind == "question_answering":
        return AnswerHead(width)
    if kind == "regression":
        return ValueHead(width)
    return (ClassHead if kind == "classification" else LabelsHead)(width, len(labels))
