"""Embeddings are the means of the states, whatever stands in the same batch; cosine finds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from vertical_assets.evaluation.errors.neighbours import embeddings, nearest
from vertical_assets.spec import TaskKind
from vertical_assets_tests.evaluation.errors.notes import checkpoint_of, labeled_set, spec_of


@pytest.mark.parametrize("kind", ["classification", "entities"])
def test_embeddings_are_the_mean_of_a_texts_own_tokens(kind: TaskKind, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(spec_of(kind), tmp_path)
    texts = labeled_set(kind, 12)["text"].to_pylist()
    found = embeddings(checkpoint, texts, spec_of(kind), budget=64)
    encoder = AutoModel.from_pretrained(tmp_path / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    for text, vector in zip(texts, found, strict=True):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
        with torch.inference_mode():
            mean = encoder(**given).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert embeddings(checkpoint, [], spec_of(kind)).shape == (0, 32)


def test_the_nearest_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    asked, known = (rng.normal(size=(n, 8)) for n in (1500, 70))
    asked, known = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (asked, known))
    distances, expected = (
        NearestNeighbors(n_neighbors=1, metric="cosine").fit(known).kneighbors(asked)
    )
    rows, cosines = nearest(asked, known)
    assert (rows == expected[:, 0]).all()
    np.testing.assert_allclose(cosines, 1 - distances[:, 0], atol=1e-9)
