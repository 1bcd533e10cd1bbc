"""Modules that give one vector per text: pooled states, BiLSTM, TF-IDF and Word2Vec.

Features are projected by weights that begin at zero: random ones would be noise in the fused
vector, and those of a rare term would stay so, since it seldom moves them.
"""

from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import nn

from vertical_assets.spec.modules import (
    SERVES,
    BiLstmOptions,
    RegressionOptions,
    SequenceOptions,
    TfidfOptions,
    WordVectorsOptions,
)
from vertical_assets.training.modules.interface import Module
from vertical_assets.training.modules.lstm import BiLstm


class Sequence(Module):
    """The first token's state or the mean of all, through a dense layer and tanh: BERT's pooler."""

    kinds = SERVES["sequence"]
    options: ClassVar[type[BaseModel]] = SequenceOptions

    def __init__(self, options: SequenceOptions | RegressionOptions, width_in: int) -> None:
        super().__init__(options, width_in)
        self.pooling, self.width = options.pooling, width_in
        self.reads_first_token = options.pooling == "first"
        self.dropout, self.dense = nn.Dropout(options.dropout), nn.Linear(width_in, width_in)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "first":
            pooled = states[:, 0]
        else:
            weights = mask[..., None].to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1)
        return self.dense(self.dropout(pooled)).tanh()


class Regression(Sequence):
    """As `sequence`, by default with the mean of all tokens."""

    kinds = SERVES["regression"]
    options = RegressionOptions


class BiLstmSentiment(Module):
    """The last states of both directions of a BiLSTM over all tokens (SPEC M6)."""

    kinds = SERVES["bilstm"]
    options = BiLstmOptions

    def __init__(self, options: BiLstmOptions, width_in: int) -> None:
        super().__init__(options, width_in)
        self.dropout, self.width = nn.Dropout(options.dropout), 2 * options.hidden
        self.lstm = BiLstm(width_in, options.hidden)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        there, back = self.lstm(self.dropout(states), mask).chunk(2, dim=2)
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, there.shape[2])
        return torch.cat([there.gather(1, last)[:, 0], back[:, 0]], dim=1)


class TfidfVector(Module):
    """A sparse vector of unit length, projected: rows of the weights, summed by its values."""

    kinds = SERVES["tfidf"]
    options = TfidfOptions
    feature = "tfidf"

    def __init__(self, options: TfidfOptions, width_in: int) -> None:
        super().__init__(options, width_in)
        self.width = options.width
        self.projection = nn.EmbeddingBag(width_in, options.width, mode="sum")
        nn.init.zeros_(self.projection.weight)

    def forward(self, states: Any, mask: torch.Tensor) -> torch.Tensor:
        """`states`: (column numbers, row starts, values), as in a CSR matrix."""
        columns, starts, values = states
        return self.projection(columns, starts, per_sample_weights=values)


class WordVector(Module):
    """A dense vector, projected."""

    kinds = SERVES["word_vectors"]
    options = WordVectorsOptions
    feature = "word_vectors"

    def __init__(self, options: WordVectorsOptions, width_in: int) -> None:
        super().__init__(options, width_in)
        self.width = options.width
        self.projection = nn.Linear(width_in, options.width)
        nn.init.zeros_(self.projection.weight)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.projection(states)


TYPES: dict[str, type[Module]] = {
    "sequence": Sequence,
    "bilstm": BiLstmSentiment,
    "regression": Regression,
    "tfidf": TfidfVector,
    "word_vectors": WordVector,
}
