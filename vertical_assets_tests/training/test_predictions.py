"""Predictions as a table: probabilities stay beside what is made of them."""

import numpy as np
import pyarrow as pa
import pytest

from vertical_assets.training.predictions import (
    predictions_of,
    predictions_table,
    probabilities_of,
)

LABELS = ("x", "y", "z")
ITEMS = pa.table({"item_id": ["1", "2"], "split": ["test"] * 2, "label": ["x", "y"]})
FOUND = np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])


def test_probabilities_are_kept_in_the_order_of_the_labels() -> None:
    table = predictions_table(ITEMS, FOUND, LABELS)
    assert table["predicted"].to_pylist() == ["y", "x"]
    assert table["confidence"].to_pylist() == [0.7, 0.6]
    assert probabilities_of(table, LABELS) == pytest.approx(FOUND, abs=1e-7)
    assert table["model"].null_count == 2


def test_several_labels_are_those_of_one_half_and_more() -> None:
    items = pa.table({"item_id": ["1"], "split": ["test"], "labels": [["x"]]})
    table = predictions_table(items, np.array([[0.9, 0.5, 0.2]]), LABELS, "multi_label", "other")
    assert table["predicted_labels"].to_pylist() == [["x", "y"]]
    assert table["confidence"].to_pylist() == [0.5]  # of the least sure label
    assert table["model"].to_pylist() == ["other"]


def test_probabilities_that_are_not_there_are_none() -> None:
    without = predictions_of(ITEMS, "classification", ["x", "y"], [None, None])
    assert probabilities_of(without, LABELS) is None
    assert probabilities_of(without.drop_columns("probabilities"), LABELS) is None
    table = predictions_table(ITEMS, FOUND, LABELS)
    assert probabilities_of(table, LABELS[:2]) is None  # another class system's
    assert probabilities_of(pa.concat_tables([table, without]), LABELS) is None
    sliced = pa.concat_tables([table, table]).slice(1, 2)
    assert probabilities_of(sliced, LABELS) == pytest.approx(FOUND[::-1], abs=1e-7)
