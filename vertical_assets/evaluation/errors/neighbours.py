"""Texts as the model sees them, mean-pooled states of its encoder, and what is nearest to what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vertical_assets.batching import in_order
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.modules.model import VerticalModel, is_vertical

BLOCK = 1024  # texts that are compared with all others at a time


@torch.inference_mode()
def embeddings(
    checkpoint: Path, texts: Sequence[str], spec: VerticalSpec, budget: int = 8192
) -> np.ndarray:
    """Texts x width, float32, each of length 1: the mean of the last layer's states over the
    text's tokens (Reimers and Gurevych 2019, "Sentence-BERT", section 3).

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        texts: of a longer one its first `model.max_tokens` tokens count.
        spec: section `model`; `sensitive`.
        budget: tokens of a batch.
    """
    from transformers import AutoTokenizer

    encoder = _encoder(checkpoint)
    inputs = tokenized(list(texts), AutoTokenizer.from_pretrained(checkpoint), spec)
    found = np.zeros((len(texts), int(encoder.config.hidden_size)), np.float32)
    if not len(texts):
        return found
    for rows in in_order(inputs.lengths, budget):
        ids, attention = inputs.padded(rows)
        states = encoder(input_ids=ids, attention_mask=attention).last_hidden_state
        mask = (attention > 0).unsqueeze(-1).to(states.dtype)
        means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        found[rows] = torch.nn.functional.normalize(means, dim=-1).float().numpy()
    return found


def _encoder(checkpoint: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    if is_vertical(checkpoint):
        return VerticalModel.from_pretrained(checkpoint).eval().encoder
    return AutoModelForSequenceClassification.from_pretrained(checkpoint).eval().base_model


def nearest(asked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row of `known`, cosine) of what is nearest to each of `asked`; the first of equals.

    Args:
        asked: rows x width, each of length 1.
        known: at least one row x width, each of length 1.
    """
    rows, cosines = np.zeros(len(asked), np.int64), np.zeros(len(asked))
    for start in range(0, len(asked), BLOCK):
        likeness = asked[start : start + BLOCK] @ known.T
        best = likeness.argmax(axis=1)
        rows[start : start + BLOCK] = best
        cosines[start : start + BLOCK] = likeness[np.arange(len(best)), best]
    return rows, np.clip(cosines, -1.0, 1.0)
