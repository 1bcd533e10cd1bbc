"""Dropout by random bits: what torch's does, several times as fast on a processor.

torch draws a double-precision number for every element there, one after another in one thread: a
sixth of a training step. Here 64 random bits decide about four elements. The share that is dropped
is rounded to 1/65,536, and what stays is scaled by exactly that share (Srivastava et al. 2014), so
that means are kept. The bits come from torch's generator: seeded, it repeats them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

LEVELS = 2**16  # values of the 16 bits that decide about one element
LEAST = -(2**63)  # of int64: with no upper limit, all 64 bits are random


class _Dropped(torch.autograd.Function):
    """values -> values x kept x scale; keeps one byte per element for the way back."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, share: float) -> torch.Tensor:
        dropped = round(share * LEVELS)
        words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(LEAST, None)
        bits = words.view(torch.int16)[: values.numel()].view(values.shape)
        kept = bits >= dropped - LEVELS // 2
        ctx.save_for_backward(kept)
        ctx.scale = LEVELS / (LEVELS - dropped)
        return (values * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None


def dropout(values: torch.Tensor, share: float) -> torch.Tensor:
    """`values` of any shape, each zero with the chance `share` (at most 1 - 1/65,536), the others
    scaled up. On other devices than a processor it is torch's.
    """
    if values.device.type != "cpu":
        return nn.functional.dropout(values, share)
    dropped: torch.Tensor = _Dropped.apply(  # type: ignore[no-untyped-call]
        values, min(share, 1 - 1 / LEVELS)
    )
    return dropped


class Dropout(nn.Dropout):
    """torch's module with `dropout` in it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return dropout(input, self.p) if self.training and self.p else input


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function `sdpa`, rows x heads x tokens x width -> rows x tokens x
    heads x width, for an encoder in training: torch has no fused kernel with dropout on a
    processor. All else goes to transformers' own.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    causal = options.get("is_causal", getattr(module, "is_causal", True))
    if not dropout or causal or query.device.type != "cpu" or query.shape[1] != key.shape[1]:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.mT
    return (dropped_weights(scores, attention_mask, dropout) @ value).transpose(1, 2), None


def dropped_weights(scores: torch.Tensor, mask: torch.Tensor | None, share: float) -> torch.Tensor:
    """softmax(scores + mask), rows x heads x queries x keys, with dropout; a boolean mask is false
    at what is hidden.
    """
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1)
    return dropout(weights, share) if share else weights


@contextmanager
def fast_dropout(model: nn.Module) -> Iterator[None]:
    """While it lasts, dropout is by random bits: in the model's modules and in every attention of
    transformers called `sdpa`.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    replaced = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Dropout
    ]
    for parent, name, child in replaced:
        setattr(parent, name, Dropout(child.p).train(child.training))
    ALL_ATTENTION_FUNCTIONS["sdpa"] = attention
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]
        for parent, name, child in replaced:
            setattr(parent, name, child)
