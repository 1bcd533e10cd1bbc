"""Keyword attention: a learned addend on attention to tokens of domain terms (SPEC M3).

For every layer and head a number is added to the attention logits of all keys that belong to a
term: attention = softmax(Q K^T / sqrt(d) + b_head x [key is of a term]) V. At zero the model is the
plain one; above zero a head looks at terms more. T5 (Raffel et al. 2019) adds learned numbers per
head and distance in the same place.

Which tokens are of a term is told in the attention mask, so that every part that can feed a BERT
can feed this one: 0 padding, 1 a token, 2 a token of a term. The terms themselves stand in the
checkpoint's tokenizer_config.json, from where `keyword_terms` takes them.

Importing this module makes `AutoModel` and its kin know checkpoints of type `keyword_bert`.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
)
from transformers import initialization as init
from transformers.models.bert.modeling_bert import BertSelfAttention

from vertical_assets.corpus.cleaning.terms import OF_A_TERM
from vertical_assets.spec.adaptation import KeywordAttention

MODEL_TYPE = "keyword_bert"
TERMS = "keyword_terms"  # key in tokenizer_config.json
IMPLEMENTATIONS = ("sdpa", "eager")  # those that take a mask of numbers


class KeywordAttentionError(Exception):
    """The base can't have keyword attention; the message says why."""


class KeywordBertConfig(BertConfig):
    """BERT's, with the layers (None: all) that have keyword attention and its first value."""

    model_type = MODEL_TYPE
    keyword_layers: list[int] | None = None
    keyword_init: float = 0.0


class KeywordBias(nn.Module):
    """The addends of one layer, one per head."""

    def __init__(self, config: KeywordBertConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((config.num_attention_heads,), config.keyword_init))

    def forward(self, of_a_term: torch.Tensor) -> torch.Tensor:
        """Rows x heads x 1 x width, of rows x width booleans."""
        return self.weight[:, None, None] * of_a_term[:, None, None, :].to(self.weight.dtype)


class KeywordSelfAttention(BertSelfAttention):
    """BERT's self-attention with the addends in its mask."""

    def __init__(self, config: KeywordBertConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx=layer_idx)
        self.keyword_bias = KeywordBias(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        *,
        of_a_term: torch.Tensor,
        **kwargs: Any,
    ) -> Any:
        mask = attention_mask + self.keyword_bias(of_a_term)
        return super().forward(hidden_states, mask.to(hidden_states.dtype), **kwargs)


class _Initialised:
    """New addends start from the configuration's value."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, KeywordBias):
            init.constant_(module.weight, self.config.keyword_init)  # type: ignore[attr-defined]


class KeywordBertModel(_Initialised, BertModel):
    """BERT with keyword attention in the configured layers."""

    config_class = KeywordBertConfig

    def __init__(self, config: KeywordBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer)
        if config._attn_implementation not in IMPLEMENTATIONS:
            raise KeywordAttentionError(
                f"keyword attention needs the attention 'sdpa' or 'eager', not "
                f"{config._attn_implementation!r}; open the model with attn_implementation='sdpa'"
            )
        for number, layer in enumerate(self.encoder.layer):
            if config.keyword_layers is None or number in config.keyword_layers:
                layer.attention.self = KeywordSelfAttention(config, layer_idx=number)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As BERT's; `attention_mask`, rows x width, is 2 at tokens of a term.

        Raises:
            ValueError: a mask of another form, which can't tell terms.
        """
        if "blocks" in kwargs:
            raise ValueError(
                "keyword attention reads terms from a mask of rows x width, which packed documents "
                "have not; set pretrain.packing to false"
            )
        if attention_mask is None:
            given = input_ids if input_ids is not None else kwargs["inputs_embeds"]
            attention_mask = torch.ones(given.shape[:2], dtype=torch.long, device=given.device)
        if attention_mask.ndim != 2:
            raise ValueError(
                f"keyword attention reads terms from a mask of rows x width; this one has "
                f"{attention_mask.ndim} dimensions: pass 0 padding, 1 token, 2 token of a term"
            )
        dtype = self.embeddings.word_embeddings.weight.dtype
        hidden = (attention_mask == 0).to(dtype) * torch.finfo(dtype).min
        return super().forward(
            input_ids,
            # Prepared, so that BERT takes it as it is, and of numbers, so that it can be added to.
            attention_mask=hidden[:, None, None, :],
            of_a_term=attention_mask == OF_A_TERM,
            **kwargs,
        )


class KeywordBertForMaskedLM(_Initialised, BertForMaskedLM):
    """With BERT's prediction head."""

    config_class = KeywordBertConfig

    def __init__(self, config: KeywordBertConfig) -> None:
        super().__init__(config)
        self.bert = KeywordBertModel(config, add_pooling_layer=False)
        self.post_init()


class KeywordBertForSequenceClassification(_Initialised, BertForSequenceClassification):
    """With BERT's classification head."""

    config_class = KeywordBertConfig

    def __init__(self, config: KeywordBertConfig) -> None:
        super().__init__(config)
        self.bert = KeywordBertModel(config)
        self.post_init()


AutoConfig.register(MODEL_TYPE, KeywordBertConfig)
AutoModel.register(KeywordBertConfig, KeywordBertModel)
AutoModelForMaskedLM.register(KeywordBertConfig, KeywordBertForMaskedLM)
AutoModelForSequenceClassification.register(KeywordBertConfig, KeywordBertForSequenceClassification)


def add_keyword_attention(
    path: Path, terms: Sequence[str], settings: KeywordAttention, out: Path
) -> None:
    """Writes the checkpoint at `path` with keyword attention and its terms to `out`.

    Raises:
        KeywordAttentionError: the base is no BERT, or has no such layer.
    """
    from vertical_assets.training.loop.checkpoints import open_base

    plain, tokenizer = open_base(path)
    if plain.config.model_type != "bert":
        raise KeywordAttentionError(
            f"model.keyword_attention is for models of type bert; {path} is a "
            f"{plain.config.model_type}: remove it, or choose another base"
        )
    layers, found = settings.layers, plain.config.num_hidden_layers
    if layers and layers[-1] >= found:
        raise KeywordAttentionError(
            f"model.keyword_attention.layers names layer {layers[-1]}, but the model has {found} "
            f"layers, 0 to {found - 1}; choose of these"
        )
    described = plain.config.to_dict()
    described.pop("model_type")
    config = KeywordBertConfig.from_dict(
        described
        | {"keyword_layers": list(layers) if layers else None, "keyword_init": settings.init}
    )
    with_head = plain.get_output_embeddings() is not None
    model = (KeywordBertForMaskedLM if with_head else KeywordBertModel)(config)
    lacking = model.load_state_dict(plain.state_dict(), strict=False)
    if lacking.unexpected_keys or not all(".keyword_bias." in n for n in lacking.missing_keys):
        raise KeywordAttentionError(f"{path} is built in another way than BERT: {lacking}")
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    tokenizer.init_kwargs[TERMS] = list(terms)
    tokenizer.save_pretrained(out)


def terms_in(checkpoint: Path) -> list[str]:
    """The terms of a checkpoint; empty where the model has no keyword attention."""
    file = checkpoint / "tokenizer_config.json"
    return json.loads(file.read_text(encoding="utf-8")).get(TERMS, []) if file.exists() else []


def keyword_terms(tokenizer: Any) -> list[str]:
    """The terms of a checkpoint's tokenizer; empty where the model has no keyword attention."""
    return list(tokenizer.init_kwargs.get(TERMS, ()))
