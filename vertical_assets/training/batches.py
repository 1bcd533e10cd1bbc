"""Token ids of texts, and the line of steps that a training walks along."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vertical_assets.batching import batches_of_epoch

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

    def padded(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
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
    return Tokenized([encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))], pad_id)


class Steps:
    """Batches of all epochs in one line, from step `start` on: what a resumed run continues with."""

    def __init__(self, lengths: np.ndarray, budget: int, seed: int, epochs: float) -> None:
        self.lengths, self.budget, self.seed = lengths, budget, seed
        self.steps_per_epoch = len(batches_of_epoch(lengths, budget, seed, 0))
        self.total = max(1, round(self.steps_per_epoch * epochs))
        self.start = 0

    def __len__(self) -> int:
        return self.total

    def rows(self) -> Iterator[np.ndarray]:
        """Row numbers of the batches from `start` on."""
        number = epoch = 0
        while number < self.total:
            for rows in batches_of_epoch(self.lengths, self.budget, self.seed, epoch):
                if number == self.total:
                    return
                if number >= self.start:
                    yield rows
                number += 1
            epoch += 1
