"""Texts as token ids, by the tokenizer of a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.keyword_attention import keyword_terms
from vertical_assets.training.loop.batches import Tokenized, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenized(
    texts: list[str],
    tokenizer: "PreTrainedTokenizerFast",
    spec: VerticalSpec,
    work: Path | None = None,
) -> Tokenized:
    """Token ids of texts by a checkpoint's tokenizer, with the domain terms that it may know; kept
    in the run's folder `work`, if given, unless the vertical is sensitive: what is stored of it is
    encrypted (SPEC X2).
    """
    return tokenize(
        texts,
        tokenizer.backend_tokenizer,
        int(tokenizer.pad_token_id or 0),
        spec.model.max_tokens,
        None if spec.sensitive else work,
        keyword_terms(tokenizer),
    )
