"""Texts as a model sees them: the mean of the last layer's states over a text's tokens, of length 1
(Reimers and Gurevych 2019, "Sentence-BERT", section 3).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vertical_assets.batching import INFERENCE_TOKENS, in_order
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.modules.model import VerticalModel, is_vertical


class States:
    """Looks on while an encoder reads batches, so that answers and embeddings take one pass.

    Attributes:
        vectors: rows x width, float32, each of length 1; once `watching` has ended.
    """

    vectors: np.ndarray

    @contextmanager
    def watching(self, encoder: Any, batches: Sequence[np.ndarray]) -> Iterator[None]:
        """While it lasts, the encoder reads these batches of rows, in this order, each row once;
        `input_ids` and `attention_mask` are given by name.
        """
        means: list[np.ndarray] = []

        def look(_: Any, __: Any, given: dict[str, Any], output: Any) -> None:
            states = output.last_hidden_state
            mask = (given["attention_mask"] > 0).unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            means.append(torch.nn.functional.normalize(mean, dim=-1).float().cpu().numpy())

        handle = encoder.register_forward_hook(look, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
        width = int(encoder.config.hidden_size)
        self.vectors = np.zeros((sum(map(len, batches)), width), np.float32)
        for rows, mean in zip(batches, means, strict=True):
            self.vectors[rows] = mean


@torch.inference_mode()
def embeddings(
    checkpoint: Path, texts: Sequence[str], spec: VerticalSpec, budget: int = INFERENCE_TOKENS
) -> np.ndarray:
    """Texts x width, float32, each of length 1.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        texts: of a longer one its first `model.max_tokens` tokens count.
        spec: section `model`; `sensitive`.
        budget: tokens of a batch.
    """
    from transformers import AutoTokenizer

    encoder, states = _encoder(checkpoint), States()
    inputs = tokenized(list(texts), AutoTokenizer.from_pretrained(checkpoint), spec)
    batches = in_order(inputs.lengths, budget) if len(texts) else []
    with states.watching(encoder, batches):
        for rows in batches:
            ids, attention = inputs.padded(rows)
            encoder(input_ids=ids, attention_mask=attention)
    return states.vectors


def _encoder(checkpoint: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    if is_vertical(checkpoint):
        return VerticalModel.from_pretrained(checkpoint).eval().encoder
    return AutoModelForSequenceClassification.from_pretrained(checkpoint).eval().base_model
