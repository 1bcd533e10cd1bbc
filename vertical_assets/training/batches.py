"""Token ids of texts, and the line of steps that a training walks along."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from vertical_assets.batching import batches_of_epoch, draw_by_group

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Tokenized:
    """Token ids of texts, as lists of unequal length, with the special tokens."""

    ids: list[list[int]]
    pad_id: int

    @property
    def lengths(self) -> np.ndarray:
        return np.fromiter(map(len, self.ids), np.int64, len(self.ids))

    def padded(self, rows: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, attention mask), both rows x longest of these rows."""
        width = max(len(self.ids[row]) for row in rows)
        ids = torch.full((len(rows), width), self.pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows):
            tokens = self.ids[row]
            ids[place, : len(tokens)] = torch.tensor(tokens)
            mask[place, : len(tokens)] = 1
        return ids, mask


def tokenize(texts: Sequence[str], tokenizer: "Tokenizer", pad_id: int, most: int) -> Tokenized:
    """Token ids of each text, cut to `most` tokens."""
    tokenizer.enable_truncation(most)
    tokenizer.no_padding()
    return Tokenized(
        [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))], pad_id
    )


class Steps:
    """Batches of all epochs in one line, from step `start` on: what a resumed run continues with.

    With `groups`, an epoch draws at most `per_group` rows of each group, others every time.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        budget: int,
        seed: int,
        epochs: float,
        groups: np.ndarray | None = None,
        per_group: int | None = None,
    ) -> None:
        self.lengths, self.budget, self.seed = lengths, budget, seed
        self.groups, self.per_group = groups, per_group
        self.steps_per_epoch = len(self.epoch(0))
        self.total = max(1, round(self.steps_per_epoch * epochs))
        self.start = 0

    def __len__(self) -> int:
        return self.total

    def epoch(self, number: int) -> list[np.ndarray]:
        """Row numbers of the batches of one epoch."""
        drawn = None
        if self.groups is not None and self.per_group is not None:
            drawn = draw_by_group(self.groups, self.per_group, self.seed, number)
        return batches_of_epoch(self.lengths, self.budget, self.seed, number, drawn)

    def rows(self) -> Iterator[np.ndarray]:
        """Row numbers of the batches from `start` on."""
        line = (rows for number in count() for rows in self.epoch(number))
        return islice(line, self.start, self.total)
