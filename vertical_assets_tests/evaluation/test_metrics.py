"""Metrics: against values worked out by hand, and against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_f1_score

from vertical_assets.evaluation.metrics import (
    classification_rows,
    comparison,
    confusion,
    macro_f1,
    report_of,
    value_of,
)
from vertical_assets.evaluation.names import MAIN
from vertical_assets.training.predictions import predictions_table

LABELS = ("a", "b", "c")


def test_values_by_hand() -> None:
    gold, predicted = list("aaabbc"), list("aabbbb")
    rows = {
        (r["metric"], r["label"]): r["value"]
        for r in classification_rows("m", "test", gold, predicted, LABELS)
    }
    assert rows["accuracy", "all"] == pytest.approx(4 / 6)
    # a: precision 1, recall 2/3 -> 0.8; b: precision 1/2, recall 1 -> 2/3; c: 0.
    assert rows["f1", "a"] == pytest.approx(0.8)
    assert rows["f1", "b"] == pytest.approx(2 / 3)
    assert rows["f1", "c"] == 0.0
    assert rows[MAIN, "all"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert rows["f1_weighted", "all"] == pytest.approx((3 * 0.8 + 2 * 2 / 3 + 0) / 6)


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1))
def test_macro_f1_agrees_with_torchmetrics(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    index = {label: code for code, label in enumerate(LABELS)}
    expected = multiclass_f1_score(
        torch.tensor([index[p] for p in predicted]),
        torch.tensor([index[g] for g in gold]),
        num_classes=3,
        average="macro",
    )
    assert macro_f1(gold, predicted, LABELS) == pytest.approx(float(expected), abs=1e-6)


def test_the_report_compares_model_baseline_and_majority() -> None:
    import pyarrow as pa

    items = pa.table(
        {"item_id": list("1234"), "split": ["test"] * 4, "label": ["a", "a", "b", "c"]}
    )
    ours = predictions_table(items, np.eye(3)[[0, 0, 1, 2]], LABELS)
    baseline = predictions_table(items, np.eye(3)[[0, 0, 1, 0]], LABELS)
    report = report_of(ours, baseline, ["a", "a", "b"], LABELS)
    assert value_of(report, "finetuned", "test", "accuracy") == 1.0
    assert value_of(report, "tfidf_logistic_regression", "test", "accuracy") == 0.75
    assert value_of(report, "majority", "test", "accuracy") == 0.5
    gains = {row["metric"]: row["gain"] for row in comparison(report, "test")}
    assert gains["accuracy"] == 0.25


def test_confusion_shows_only_labels_that_occur() -> None:
    matrix, present = confusion(["a", "a", "b"], ["a", "b", "b"], LABELS)
    assert present == ["a", "b"]
    assert matrix.tolist() == [[0.5, 0.5], [0.0, 1.0]]
