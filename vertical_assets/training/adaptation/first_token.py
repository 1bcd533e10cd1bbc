"""The last layer of an encoder for a head that reads the first token only.

Such a head needs one state per row, so query, output, norms and inner layer are computed for the
first token. Its attention needs no keys and values of the others either, for both are linear:

    q . (K x + b) = (K' q) . x + q . b
    sum_i a_i (V x_i + c) = V (sum_i a_i x_i) + c sum_i a_i

The layer then costs about 1/width of a whole one. States and gradients are those of the whole
layer, to rounding (the same law lets DeepSeek-V2 attend to compressed keys; Liu et al. 2024, 2.1).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import BertForSequenceClassification, BertModel
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention

from vertical_assets.training.adaptation.keyword_attention import (
    IMPLEMENTATIONS,
    KeywordSelfAttention,
)
from vertical_assets.training.loop.dropout import dropped_weights


class FirstTokenLayer(nn.Module):
    """A layer of BERT, with its weights under their names, that gives rows x 1 x hidden: the
    states of the first token.
    """

    def __init__(self, whole: BertLayer) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = (
            whole.attention,
            whole.intermediate,
            whole.output,
        )
        self.training = whole.training

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: None = None,
        of_a_term: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """Arguments are BertLayer's; `of_a_term` is KeywordSelfAttention's."""
        of, first = self.attention.self, hidden_states[:, :1]
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        if isinstance(of, KeywordSelfAttention):
            mask = mask + of.keyword_bias(of_a_term)
        mixed = mixed_states(of, first, hidden_states, mask)
        attended = self.attention.output(mixed, first)
        states: torch.Tensor = self.output(self.intermediate(attended), attended)
        return states


def mixed_states(
    of: BertSelfAttention,
    first: torch.Tensor,
    states: torch.Tensor,
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """What self-attention gives for the first token, rows x 1 x hidden.

    Args:
        of: its projections.
        first: states of the first token, rows x 1 x hidden.
        states: of all tokens, rows x width x hidden.
        mask: rows x heads or 1 x 1 x width: booleans, or addends to the scores.
    """
    heads, size = of.num_attention_heads, of.attention_head_size
    query = (of.query(first) * of.scaling).view(-1, heads, size).transpose(0, 1)  # heads x rows x d
    key, value = (p.weight.view(heads, size, -1) for p in (of.key, of.value))
    constant = (query * of.key.bias.view(heads, 1, size)).sum(-1)
    scores = (query @ key).transpose(0, 1) @ states.mT + constant.T[..., None]
    share = of.dropout.p if of.training else 0.0
    weights = dropped_weights(scores[:, :, None], mask, share)[:, :, 0]
    mixed = (weights @ states).transpose(0, 1) @ value.mT
    mixed = mixed + weights.sum(-1).T[..., None] * of.value.bias.view(heads, 1, size)
    return mixed.transpose(0, 1).reshape(first.shape[0], 1, heads * size)


def reads_first_token(model: Any) -> bool:
    """Whether a model reads nothing but the first token of an encoder whose last layer
    FirstTokenLayer knows: transformers' classifier of BERT, or a model that says so by an attribute
    of this function's name.
    """
    encoder = model.base_model
    return (
        getattr(model, "reads_first_token", isinstance(model, BertForSequenceClassification))
        and isinstance(encoder, BertModel)
        and encoder.config._attn_implementation in IMPLEMENTATIONS
        and not encoder.config.is_decoder
        and encoder.config.num_hidden_layers > 0
    )


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """While it lasts, the encoder of a model that reads nothing else gives the first token's state
    only, rows x 1 x hidden; names of weights stay. Another model stays as it is.
    """
    if not reads_first_token(model):
        yield
        return
    encoder = model.base_model
    layers = encoder.encoder.layer
    whole = layers[-1]
    layers[-1] = FirstTokenLayer(whole)
    try:
        yield
    finally:
        whole.training = layers[-1].training
        layers[-1] = whole
