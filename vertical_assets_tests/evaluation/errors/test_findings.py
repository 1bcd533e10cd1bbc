"""What is found: planted outliers, wrong labels and errors; and how it comes into one queue."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.evaluation.errors.analysis import AnalysisError, analyse
from vertical_assets.evaluation.errors.outliers import outliers_of
from vertical_assets.evaluation.errors.relabel import Finding, relabel_queue, unusual
from vertical_assets.evaluation.errors.wrong import errors_table, wrong_rows
from vertical_assets.labels.gold.confident_learning import suspicion_of
from vertical_assets.labels.targets import Span
from vertical_assets.training.predictions import predictions_of
from vertical_assets_tests.evaluation.errors.notes import (
    labeled_set,
    predictions_with_errors,
    spec_of,
)

LABELS = ("a", "b", "c")


def test_predictions_about_items_that_are_gone_are_named() -> None:
    labeled = labeled_set("classification")
    said = predictions_with_errors(labeled, "classification")
    left = labeled.filter(pc.not_equal(labeled["item_id"], "n001"))
    with pytest.raises(
        AnalysisError, match=r"lacks 1 of 60 items .* n001: materialize predictions"
    ):
        analyse(Path(), left, said, {}, Terms(()), spec_of("classification"))


def test_planted_outliers_are_marked_and_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(990, 16)) @ rng.normal(size=(16, 16))
    odd = rng.normal(size=(10, 16)) * 25
    found = outliers_of(np.vstack([vectors, odd]).astype(np.float32), 0.01)
    assert found.marked.sum() == 10
    assert found.marked[-10:].sum() >= 9
    again = outliers_of(np.vstack([vectors, odd]).astype(np.float32), 0.01)
    assert (found.scores == again.scores).all()


def test_among_few_or_equal_texts_nothing_is_odd() -> None:
    assert not outliers_of(np.eye(5, dtype=np.float32), 0.1).marked.any()
    assert not outliers_of(np.ones((50, 4), np.float32), 0.1).marked.any()


def shares(gold: np.ndarray, classes: int = 3) -> np.ndarray:
    """Probabilities of a good model that does not know wrong labels."""
    rng = np.random.default_rng(1)
    found = rng.dirichlet(np.ones(classes), len(gold)) * 0.2
    found[np.arange(len(gold)), gold] += 0.8
    return found


def test_wrong_labels_are_suspected_before_all_others() -> None:
    gold = np.random.default_rng(2).integers(3, size=600)
    given = gold.copy()
    given[:30] = (gold[:30] + 1) % 3
    found = suspicion_of([LABELS[g] for g in given], shares(gold), LABELS, "classification")
    assert found.suspected[:30].mean() > 0.8
    assert not found.suspected[30:].any()
    assert set(np.argsort(found.quality)[:30]) == set(range(30))


def test_a_label_that_nobody_has_and_a_single_one_are_no_reason_to_fail() -> None:
    gold = np.array([0, 1] * 20)
    found = suspicion_of([LABELS[g] for g in gold], shares(gold), LABELS, "classification")
    assert not found.suspected.any()
    found = suspicion_of(["b"] * 10, shares(np.ones(10, int)), LABELS, "classification")
    assert not found.suspected.any()


def test_wrong_sets_of_labels_are_suspected() -> None:
    rng = np.random.default_rng(4)
    gold = rng.random((400, 3)) < 0.4
    probabilities = np.clip(np.where(gold, 0.9, 0.1) + rng.normal(0, 0.2, gold.shape), 0.01, 0.99)
    given = gold.copy()
    given[:20, 0] = ~gold[:20, 0]
    names = [[LABELS[n] for n in np.flatnonzero(row)] for row in given]
    found = suspicion_of(names, probabilities, LABELS, "multi_label")
    assert found.suspected[:20].mean() > 0.8
    assert found.suspected[20:].mean() < 0.02
    nothing = suspicion_of([[]] * 5, probabilities[:5], LABELS, "multi_label")
    assert not nothing.suspected.any()


def test_an_answer_in_the_same_words_is_right_wherever_it_stands() -> None:
    held = labeled_set("question_answering").slice(0, 2)
    text = "aspirin and aspirin"
    gold = [(Span(0, 7, "answer"),), (Span(0, 7, "answer"),)]
    held = held.set_column(
        held.column_names.index("spans"),
        "spans",
        pa.array([[vars(s) for s in each] for each in gold], held.schema.field("spans").type),
    )
    said = predictions_of(
        held, "question_answering", [(Span(12, 19, "answer"),), (Span(8, 11, "answer"),)], [0.9] * 2
    )
    assert wrong_rows(said, [text] * 2, spec_of("question_answering")).tolist() == [False, True]


def test_a_number_is_wrong_beyond_the_tolerance() -> None:
    held = labeled_set("regression").slice(0, 3)
    gold = held["value"].to_pylist()
    said = predictions_of(held, "regression", [gold[0] + 0.9, gold[1] + 1.1, gold[2]], [None] * 3)
    task = {"name": "n", "kind": "regression", "range": [0, 10]}
    assert wrong_rows(said, [""] * 3, spec_of("regression", task=task)).tolist() == [
        False,
        True,
        False,
    ]


def test_errors_stand_with_the_surest_first_and_their_nearest_neighbour() -> None:
    labeled = labeled_set("classification").slice(0, 8)
    held = labeled.filter(pa.array([s == "test" for s in labeled["split"].to_pylist()]))
    said = predictions_of(held, "classification", ["few", "many"], [0.6, 0.9])
    like = {"nearest_id": "x", "nearest_text": "y", "nearest_label": "few", "similarity": 0.5}
    table = errors_table(said, ["one", "two"], {}, [like, {}], spec_of("classification"))
    first, second = table.to_pylist()
    assert (first["text"], first["confidence"], first["nearest_id"]) == ("two", 0.9, None)
    assert (second["text"], second["similarity"]) == ("one", 0.5)
    assert first["source"] == "(not in the corpus)"


def test_an_item_with_two_reasons_stands_once_and_first() -> None:
    labeled = labeled_set("classification")
    said = predictions_with_errors(labeled, "classification")
    findings = [
        Finding(("n001", None), "label_error", 0.9),
        Finding(("n003", None), "outlier", 0.7),
        Finding(("n003", None), "confident_error", 0.95),
        Finding(("n002", None), "label_error", 0.99),
        Finding(("n000", None), "outlier", 0.1),  # of the training set: nothing was predicted
    ]
    labeled = labeled.set_column(
        labeled.schema.get_field_index("split"),
        labeled.schema.field("split"),
        pa.array(["train", "validation", "test", "validation", *labeled["split"].to_pylist()[4:]]),
    )
    rows = relabel_queue(findings, labeled, said, "classification").to_pylist()
    # Of the test set nobody is asked again where a model disagrees.
    assert [row["item_id"] for row in rows] == ["n003", "n001", "n000"]
    assert rows[0]["reasons"] == ["confident_error", "outlier"]
    assert rows[0]["score"] == pytest.approx(1.65)
    assert rows[1]["predicted"] in ("few", "many")
    assert (rows[2]["split"], rows[2]["predicted"], rows[2]["confidence"]) == ("train", None, None)


def test_targets_of_other_kinds_are_json_in_the_queue() -> None:
    labeled = labeled_set("entities")
    said = predictions_with_errors(labeled, "entities")
    findings = [Finding((item, None), "outlier", 0.5) for item in labeled["item_id"].to_pylist()]
    rows = relabel_queue(findings, labeled, said, "entities").to_pylist()
    spans = dict(zip(labeled["item_id"].to_pylist(), labeled["spans"].to_pylist(), strict=True))
    assert all(json.loads(row["label"]) == spans[row["item_id"]] for row in rows)


def test_only_distances_that_stand_out_are_unusual() -> None:
    scores = unusual(np.array([1.0, 1.1, 0.9, 1.05, 0.95, 9.0]))
    assert (scores[:5] == 0).all()
    assert 0.8 < scores[5] < 1
    assert (unusual(np.zeros(4)) == 0).all()
    assert len(unusual(np.zeros(0))) == 0
