"""The artifact at work: predictions with OpenVINO, tokenizers and NumPy; no torch.

An artifact is a directory with `model.xml`, `model.bin`, `tokenizer.json`, `artifact.json` (task,
labels, input length, terms of the domain where the model attends to them) and `manifest.json` (what
it was made from, checksums of its files).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vertical_assets.batching import in_order
from vertical_assets.corpus.cleaning.terms import Terms, keyword_mask
from vertical_assets.inference.cascade import cascaded, first_stage
from vertical_assets.store.versions import MANIFEST

MODEL, WEIGHTS, TOKENIZER, DESCRIPTION = "model.xml", "model.bin", "tokenizer.json", "artifact.json"
INPUTS = ("input_ids", "attention_mask")
TOKENS_PER_BATCH = 2048


class DamagedArtifactError(Exception):
    """A file of the artifact is not the one that was released; the message names it."""


class Predictor:
    """Opens an artifact after checking every file against its checksum."""

    def __init__(self, directory: Path) -> None:
        import openvino as ov

        verify(directory)
        description = json.loads((directory / DESCRIPTION).read_text())
        self.task: str = description["task"]
        self.labels: list[str] = description["labels"]
        self.tokenizer = load_tokenizer(directory / TOKENIZER, description["max_tokens"])
        self.pad_id: int = description["pad_id"]
        self.terms = Terms(description.get("keyword_terms", ()))
        self.first_stage = first_stage(directory)
        # Float where not INT8: bf16 would be chosen on some processors, and change answers.
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._request = (
            ov.Core().compile_model(directory / MODEL, "CPU", settings).create_infer_request()
        )

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, texts x labels; of the first stage where a cascade's is sure (SPEC M8)."""
        return cascaded(self.first_stage, texts, self.network_probabilities)

    def network_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities, texts x labels, of the network alone."""
        encoded = encode(self.tokenizer, texts, self.terms)
        logits = np.zeros((len(encoded), len(self.labels)), np.float32)
        lengths = np.fromiter((len(ids) for ids, _ in encoded), np.int64, len(encoded))
        for rows in in_order(lengths, TOKENS_PER_BATCH):
            batch = padded([encoded[row] for row in rows], self.pad_id)
            logits[rows] = self._request.infer(batch)[0]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One mapping per text: `label` and its `confidence`."""
        found = self.probabilities(texts)
        return [
            {"label": self.labels[row.argmax()], "confidence": float(row.max())} for row in found
        ]


def load_tokenizer(file: Path, max_tokens: int) -> Tokenizer:
    """A tokenizer that cuts at `max_tokens` and never pads."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], terms: Terms
) -> list[tuple[list[int], np.ndarray]]:
    """Token ids of each text and its attention mask, 2 at tokens of a term and 1 elsewhere."""
    if not terms:
        plain = tokenizer.encode_batch_fast(list(texts))  # without offsets
        return [(encoding.ids, np.ones(len(encoding.ids), np.int64)) for encoding in plain]
    return [
        (encoding.ids, keyword_mask(encoding.offsets, terms.occurrences(text)))
        for encoding, text in zip(tokenizer.encode_batch(list(texts)), texts, strict=True)
    ]


def padded(
    encoded: Sequence[tuple[Sequence[int], np.ndarray]], pad_id: int
) -> dict[str, np.ndarray]:
    """Model inputs of token ids and masks, padded to the longest."""
    width = max(len(ids) for ids, _ in encoded)
    inputs = np.full((len(encoded), width), pad_id, np.int64)
    masks = np.zeros((len(encoded), width), np.int64)
    for row, (ids, mask) in enumerate(encoded):
        inputs[row, : len(ids)] = ids
        masks[row, : len(ids)] = mask
    return dict(zip(INPUTS, (inputs, masks), strict=True))


def checksums(directory: Path) -> dict[str, str]:
    """SHA-256 of every file of an artifact but its manifest."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(directory.iterdir())
        if file.name != MANIFEST
    }


def verify(directory: Path) -> None:
    """Compares an artifact's files with the checksums of its manifest.

    Raises:
        DamagedArtifactError: a file is missing, was added or was changed.
    """
    expected = json.loads((directory / MANIFEST).read_text())["checksums"]
    found = checksums(directory)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise DamagedArtifactError(
                f"{directory / name} is not the file that was released; "
                "build the artifact again or restore the release"
            )
