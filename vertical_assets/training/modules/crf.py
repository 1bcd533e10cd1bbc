"""A linear-chain conditional random field in log space (SPEC M5; Lafferty et al. 2001)."""

import numpy as np
import torch
from torch import nn

from vertical_assets.inference.chain import FORBIDDEN, Chain


class ConditionalRandomField(nn.Module):
    """Scores of neighbouring tags, learned with the emissions under them.

    Args:
        first: which tags may come first, as booleans.
        allowed: which tag may follow which, tags x tags; what may not never gains probability.
    """

    forbidden_first: torch.Tensor
    forbidden: torch.Tensor

    def __init__(self, first: np.ndarray, allowed: np.ndarray) -> None:
        super().__init__()
        tags = len(first)
        self.starts = nn.Parameter(torch.zeros(tags))
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.ends = nn.Parameter(torch.zeros(tags))
        for name, permitted in (("forbidden_first", first), ("forbidden", allowed)):
            scores = torch.from_numpy(np.where(permitted, 0.0, FORBIDDEN).astype(np.float32))
            self.register_buffer(name, scores)

    def forward(
        self, emissions: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Negative log-likelihood of each row.

        Args:
            emissions: rows x length x tags.
            tags: rows x length; anything where the mask is zero.
            mask: rows x length, ones first; at least one per row.
        """
        emissions = emissions.float()  # a sum of logarithms loses too much in bf16
        return self.log_total(emissions, mask) - self.score(emissions, tags, mask)

    def score(
        self, emissions: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Score of given tags, per row."""
        starts, transitions = self.starts + self.forbidden_first, self.transitions + self.forbidden
        tags = tags.clamp(min=0)
        inside = mask.to(emissions.dtype)
        emitted = emissions.gather(2, tags[..., None])[..., 0] * inside
        moved = transitions[tags[:, :-1], tags[:, 1:]] * inside[:, 1:]
        last = tags.gather(1, mask.long().sum(1, keepdim=True) - 1)[:, 0]
        return starts[tags[:, 0]] + emitted.sum(1) + moved.sum(1) + self.ends[last]

    def log_total(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logarithm of the sum over all tag sequences, per row, by the forward algorithm."""
        transitions = self.transitions + self.forbidden
        running = mask.bool()
        alpha = self.starts + self.forbidden_first + emissions[:, 0]
        for step in range(1, emissions.shape[1]):
            onward = (alpha[:, :, None] + transitions).logsumexp(1) + emissions[:, step]
            alpha = torch.where(running[:, step, None], onward, alpha)
        return (alpha + self.ends).logsumexp(1)

    def chain(self) -> Chain:
        """The scores, for decoding without torch."""
        with torch.no_grad():
            parts = (
                self.starts + self.forbidden_first,
                self.transitions + self.forbidden,
                self.ends,
            )
            return Chain(*(part.cpu().double().numpy() for part in parts))
