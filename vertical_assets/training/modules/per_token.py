"""Modules that give one vector per token: for entities and extractive question answering."""

from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import nn

from vertical_assets.inference.interfaces import SpansOutput
from vertical_assets.spec.modules import (
    SERVES,
    BiLstmCrfOptions,
    CrfOptions,
    QuestionAnsweringOptions,
    TokensOptions,
)
from vertical_assets.training.modules.interface import Module
from vertical_assets.training.modules.lstm import BiLstm


class Tokens(Module):
    """The encoder's states; every tag on its own."""

    kinds = SERVES["tokens"]
    options: ClassVar[type[BaseModel]] = TokensOptions
    per_token = True
    output = SpansOutput

    def __init__(self, options: Any, width_in: int) -> None:
        super().__init__(options, width_in)
        self.dropout, self.width = nn.Dropout(options.dropout), width_in

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(states)


class Crf(Tokens):
    """The encoder's states under a conditional random field (SPEC M5)."""

    kinds = SERVES["crf"]
    options = CrfOptions
    chained = True


class BiLstmCrf(Module):
    """A BiLSTM on the encoder's states, under a conditional random field (SPEC M5)."""

    kinds = SERVES["bilstm_crf"]
    options = BiLstmCrfOptions
    per_token = True
    chained = True
    output = SpansOutput

    def __init__(self, options: BiLstmCrfOptions, width_in: int) -> None:
        super().__init__(options, width_in)
        self.dropout, self.width = nn.Dropout(options.dropout), 2 * options.hidden
        self.lstm = BiLstm(width_in, options.hidden)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.lstm(self.dropout(states), mask))


class QuestionAnswering(Tokens):
    """The encoder's states of question and text together."""

    kinds = SERVES["question_answering"]
    options = QuestionAnsweringOptions


TYPES: dict[str, type[Module]] = {
    "tokens": Tokens,
    "crf": Crf,
    "bilstm_crf": BiLstmCrf,
    "question_answering": QuestionAnswering,
}
