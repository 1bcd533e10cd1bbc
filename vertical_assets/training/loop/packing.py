"""Attention of documents that lie end to end in one row: each attends to itself only.

A block mask would have all pairs of tokens computed and most of them thrown away. Documents of one
length are computed together instead, without any mask, and nothing is padded. (torch's kernels for
unequal lengths are for CUDA only.) On a processor, batches of similar length were faster still, by
5 to 20 %, which is why packing has to be asked for; its batches are drawn without regard to length.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from vertical_assets.training.loop.loop import UntrainableError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "vertical_assets_packed"
Blocks = list[tuple[int, int]]  # (documents, tokens of each), in their order


def blocks_of(lengths: torch.Tensor) -> Blocks:
    """Runs of documents of equal length."""
    values, counts = torch.unique_consecutive(lengths, return_counts=True)
    return list(zip(counts.tolist(), values.tolist(), strict=True))


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    blocks: Blocks | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers: 1 x heads x tokens x width -> 1 x tokens x heads x
    width. Without `blocks` it is transformers' own, for padded batches.
    """
    if blocks is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
    sizes = [documents * tokens for documents, tokens in blocks]
    flat = (torch.split(whole[0].transpose(0, 1), sizes) for whole in (query, key, value))
    parts = zip(*flat, strict=True)
    found = []
    for (documents, tokens), part in zip(blocks, parts, strict=True):
        q, k, v = (one.unflatten(0, (documents, tokens)).transpose(1, 2) for one in part)
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        found.append(mixed.transpose(1, 2).flatten(0, 1))
    return torch.cat(found)[None], None


def allow_packing(model: "PreTrainedModel") -> None:
    """Lets a model take `blocks` beside `position_ids`; padded batches go on as before.

    Raises:
        UntrainableError: the model's attention is one of its own already.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation not in ("sdpa", "eager", NAME):
        raise UntrainableError(
            f"pretrain.packing does not go with the attention "
            f"{model.config._attn_implementation!r} of this model; set pretrain.packing to false"
        )
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def first_position(model: "PreTrainedModel") -> int:
    """Position of a document's first token: RoBERTa and its kin count on from the padding's id."""
    embeddings = model.base_model.embeddings
    if hasattr(embeddings, "create_position_ids_from_input_ids"):
        return int(embeddings.padding_idx) + 1
    return 0
