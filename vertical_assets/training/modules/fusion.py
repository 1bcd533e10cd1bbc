"""Fusion: vectors of several modules become one (SPEC M7)."""

from abc import ABC, abstractmethod

import torch
from torch import nn

GAIN = 0.1  # of each norm at the beginning


class Fusion(nn.Module, ABC):
    """Projects the modules' vectors to one width, makes them comparable by layer norm and adds
    them by weights that sum to one.

    A vector of the fused width begins as it is, and all begin short: a step of Adam moves the
    head's logits by the learning rate times the sum of the vector's entries, which at a norm's
    usual length is more than a few hundred steps can calm.

    Args:
        widths: of the modules' vectors.
        width: of the fused vector.
    """

    def __init__(self, widths: list[int], width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_projection(each, width) for each in widths)

    @abstractmethod
    def weights(self, projected: torch.Tensor) -> torch.Tensor:
        """Rows x modules, of rows x modules x width."""

    def forward(self, vectors: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows x width, weights as rows x modules)."""
        projected = torch.stack(
            [part(each) for part, each in zip(self.projections, vectors, strict=True)], dim=1
        )
        weights = self.weights(projected)
        return (projected * weights[..., None]).sum(1), weights


def _projection(width_in: int, width: int) -> nn.Sequential:
    linear, norm = nn.Linear(width_in, width), nn.LayerNorm(width)
    nn.init.constant_(norm.weight, GAIN)
    if width_in == width:
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, norm)


class WeightedSum(Fusion):
    """One learned weight per module, the same for all items; equal at the beginning."""

    def __init__(self, widths: list[int], width: int) -> None:
        super().__init__(widths, width)
        self.scores = nn.Parameter(torch.zeros(len(widths)))

    def weights(self, projected: torch.Tensor) -> torch.Tensor:
        return self.scores.softmax(0).expand(len(projected), -1)


class AttentionGate(Fusion):
    """Weights of each item by additive attention over its vectors (Bahdanau et al. 2015)."""

    def __init__(self, widths: list[int], width: int) -> None:
        super().__init__(widths, width)
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def weights(self, projected: torch.Tensor) -> torch.Tensor:
        return self.score(projected)[..., 0].softmax(1)


FUSIONS: dict[str, type[Fusion]] = {"weighted_sum": WeightedSum, "attention_gate": AttentionGate}
