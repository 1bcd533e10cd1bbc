"""Embeddings are the means of the states, whatever stands in the same batch, however they are asked
for.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from vertical_assets.labels.splits import held_out
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import PREDICTIONS
from vertical_assets.training.answering import label_probabilities, predicted_table
from vertical_assets.training.embeddings import States, embeddings
from vertical_assets.training.predictions import embeddings_in
from vertical_assets_tests.evaluation.errors.notes import checkpoint_of, labeled_set, spec_of


@pytest.mark.parametrize("kind", ["classification", "entities"])
def test_they_are_the_mean_of_a_texts_own_tokens(kind: TaskKind, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "kind", ["classification", "multi_label", "entities", "question_answering", "regression"]
)
def test_predictions_hold_them(kind: TaskKind, tmp_path: Path) -> None:
    """Of classes they come from the pass that answers, of other kinds from one more."""
    spec = spec_of(kind)
    checkpoint, held = checkpoint_of(spec, tmp_path), held_out(labeled_set(kind, 40))
    table = predicted_table(checkpoint, held, spec)
    assert table.schema == PREDICTIONS
    found, texts = embeddings_in(table), held["text"].to_pylist()
    assert found is not None
    np.testing.assert_allclose(found, embeddings(checkpoint, texts, spec), atol=1e-5)
    assert embeddings_in(predicted_table(checkpoint, held.slice(0, 0), spec)) is None


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
def test_looking_on_changes_no_answer(kind: TaskKind, tmp_path: Path) -> None:
    spec = spec_of(kind)
    checkpoint = checkpoint_of(spec, tmp_path)
    texts = labeled_set(kind, 40)["text"].to_pylist()
    alone = label_probabilities(checkpoint, texts, spec)
    watched = label_probabilities(checkpoint, texts, spec, states=States())
    np.testing.assert_allclose(watched, alone, atol=1e-6)
