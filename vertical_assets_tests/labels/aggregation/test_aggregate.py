"""Aggregation by the task's way: gold, confidence, disputes, and how good annotators are."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.labels.aggregation import AGGREGATED, aggregate, annotator_quality
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATOR_QUALITY
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labels.aggregation.test_dawid_skene import crowd, gold_of
from vertical_assets_tests.labels.agreement import test_by_sums
from vertical_assets_tests.labels.agreement.test_report import said, spec_of, with_batches

WAYS = ["majority", "dawid_skene", "mace"]
ROWS = [
    *[("tie", who, label) for who, label in zip("xy", "ab", strict=True)],
    *[("two of three", who, label) for who, label in zip("xyz", "aab", strict=True)],
    *[("all", who, "b") for who in "xyz"],
]


def by_item(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in table.to_pylist()}


def test_a_majority_is_as_sure_as_its_share_and_a_tie_is_disputed() -> None:
    table = aggregate(said(ROWS), spec_of("ab"))
    assert table.schema == AGGREGATED
    assert table["item_id"].to_pylist() == ["tie", "two of three", "all"]
    found = by_item(table)
    assert [found[item]["label"] for item in found] == [None, "a", "b"]
    assert found["two of three"]["confidence"] == pytest.approx(2 / 3)
    assert found["two of three"]["n_annotators"] == 3
    assert json.loads(found["tie"]["votes"]) == {"a": 1, "b": 1}
    assert {row["method"] for row in found.values()} == {"majority"}


def test_less_sure_than_asked_for_is_disputed() -> None:
    spec = spec_of("ab", min_confidence=0.7)
    found = by_item(aggregate(said(ROWS), spec))
    assert [found[item]["label"] for item in found] == [None, None, "b"]
    sets = test_by_sums.said("multi_label", [("1", who, ("x",)) for who in "ab"] + [("1", "c", ())])
    task = {"name": "t", "kind": "multi_label", "labels": {"x": ""}, "min_confidence": 0.7}
    assert aggregate(sets, VerticalSpec(**tiny(task=task)))["labels"].to_pylist() == [None]


@pytest.mark.parametrize(("way", "right"), [("majority", 696), ("dawid_skene", 712), ("mace", 722)])
def test_a_published_crowd_set(way: str, right: int) -> None:
    table = aggregate(said(crowd()), spec_of("01", aggregation=way))
    labels = np.array([int(label) for label in table["label"].to_pylist()])
    assert (labels == gold_of(table["item_id"])).sum() == right
    assert set(table["method"].to_pylist()) == {way}
    confidence = np.array(table["confidence"])
    assert 0.5 < confidence.min() <= confidence.max() <= 1.0


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from("12345"), st.sampled_from("wxyz"), st.sampled_from("abc")),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[:2],
    ),
    st.sampled_from(WAYS),
)
def test_every_item_comes_out_once_with_its_votes(
    rows: list[tuple[str, str, str]], way: str
) -> None:
    table = aggregate(said(rows), spec_of("abc", aggregation=way))
    found = by_item(table)
    assert len(found) == table.num_rows == len({item for item, _, _ in rows})
    for item, row in found.items():
        labels = [label for other, _, label in rows if other == item]
        assert json.loads(row["votes"]) == {label: labels.count(label) for label in set(labels)}
        assert row["n_annotators"] == len(labels)
        assert row["label"] is None or row["confidence"] > 1 / 3


def test_annotators_who_can_not_be_told_apart_leave_a_tie_disputed() -> None:
    """Of MACE the random start tells them apart, hardly."""
    for way in WAYS[:2]:
        table = aggregate(said([("1", "x", "a"), ("1", "y", "b")]), spec_of("ab", aggregation=way))
        assert table["label"].to_pylist() == [None]


def test_the_latest_of_an_annotators_judgements_counts() -> None:
    rows = [
        ("1", "x", "a", "new", "2026-02-01"),
        ("1", "x", "b", "old", "2026-01-01"),
        ("1", "y", "a", "old", "2026-01-01"),
    ]
    found = aggregate(with_batches(rows), spec_of("ab")).to_pylist()
    assert (found[0]["label"], found[0]["n_annotators"]) == ("a", 2)


def test_no_annotations_come_to_nothing() -> None:
    for way in WAYS:
        assert aggregate(said([]), spec_of("ab", aggregation=way)).equals(AGGREGATED.empty_table())
    assert annotator_quality(said([]), spec_of("ab")).num_rows == 0


def test_the_least_accurate_annotator_comes_first() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 400)
    wrong = {"good": 0.05, "fair": 0.2, "turned": 0.9}
    rows = [
        (str(item), who, "ab"[label ^ int(rng.random() < rate)])
        for item, label in enumerate(truth)
        for who, rate in {**wrong, "also good": 0.05, "third": 0.1}.items()
    ]
    table = annotator_quality(said(rows), spec_of("ab"))
    assert table.schema == ANNOTATOR_QUALITY
    found = table.to_pylist()
    assert [row["annotator_id"] for row in found[:3]] == ["turned", "fair", "third"]
    assert found[0]["accuracy"] == pytest.approx(0.1, abs=0.04)
    assert np.array(found[0]["confusion"]) == pytest.approx(
        np.array([[0.1, 0.9], [0.9, 0.1]]), abs=0.06
    )
    assert {row["annotations"] for row in found} == {400}


def test_of_other_kinds_no_model_of_annotators_is_made() -> None:
    sets = test_by_sums.said("multi_label", [("1", "a", ("x",))])
    assert annotator_quality(sets, test_by_sums.spec_of("multi_label")).num_rows == 0
