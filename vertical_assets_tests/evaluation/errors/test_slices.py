"""Slices: figures as in the reports, and a gate that a collapsed slice does not pass."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, mean_absolute_error, recall_score

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.evaluation.errors.slices import (
    gates_of,
    quantile_bins,
    ratio_interval,
    slices_of,
    worst_of,
)
from vertical_assets.labels.splits import TEST, held_out
from vertical_assets.labels.targets import targets_of
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import SLICES
from vertical_assets_tests.evaluation.errors.notes import (
    labeled_set,
    predictions_with_errors,
    spec_of,
)

KINDS: list[TaskKind] = [
    "classification",
    "multi_label",
    "entities",
    "question_answering",
    "regression",
]


def sliced(kind: TaskKind, terms: tuple[str, ...] = ()) -> tuple[dict[tuple[str, str], Any], Any]:
    """((dimension, slice) -> row of the test split, PREDICTIONS of it)."""
    labeled = labeled_set(kind)
    said = predictions_with_errors(labeled, kind)
    texts = dict(zip(labeled["item_id"].to_pylist(), labeled["text"].to_pylist(), strict=True))
    sources = {item: ("first", "second")[n % 2] for n, item in enumerate(list(texts)[3::4])}
    found = slices_of(
        said, texts, sources, dict(zip(texts, texts, strict=True)), Terms(terms), spec_of(kind)
    )
    rows = {(r["dimension"], r["slice"]): r for r in found.to_pylist() if r["split"] == TEST}
    tested = said.filter(pa.array([split == TEST for split in said["split"].to_pylist()]))
    return rows, tested


def test_the_figure_of_a_class_is_its_recall_with_wilsons_interval() -> None:
    rows, tested = sliced("classification")
    gold, said = tested["label"].to_pylist(), tested["predicted"].to_pylist()
    recalls = recall_score(gold, said, labels=["few", "many"], average=None)
    assert [rows["class", name]["value"] for name in ("few", "many")] == pytest.approx(recalls)
    row = rows["class", "few"]
    right = round(row["value"] * row["items"])
    expected = binomtest(right, row["items"]).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["drop"] == pytest.approx(rows["all", "all"]["value"] - row["value"])


def test_figures_of_other_kinds_agree_with_scikit_learn() -> None:
    rows, tested = sliced("multi_label")
    gold, said = (
        [[drug in each for drug in ("aspirin", "insulin")] for each in tested[name].to_pylist()]
        for name in ("labels", "predicted_labels")
    )
    assert rows["all", "all"]["value"] == pytest.approx(f1_score(gold, said, average="micro"))
    by_label = f1_score(gold, said, average=None)
    assert [rows["class", d]["value"] for d in ("aspirin", "insulin")] == pytest.approx(by_label)
    rows, tested = sliced("regression")
    error = mean_absolute_error(
        targets_of(tested, "regression"), targets_of(tested, "regression", "predicted_")
    )
    assert rows["all", "all"]["value"] == pytest.approx(error)


@pytest.mark.parametrize("kind", KINDS)
def test_every_dimension_but_the_labels_parts_the_items(kind: TaskKind) -> None:
    rows, tested = sliced(kind, ("fever",))
    dimensions = {dimension for dimension, _ in rows}
    assert {"all", "length", "source", "terms"} <= dimensions
    for dimension in dimensions - ({"class"} if kind != "classification" else set()):
        parts = [row for (name, _), row in rows.items() if name == dimension]
        assert sum(row["items"] for row in parts) == len(tested)
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())
    texts = held_out(labeled_set(kind)).filter(
        pa.array([s == TEST for s in held_out(labeled_set(kind))["split"].to_pylist()])
    )["text"]
    having = sum("fever" in text for text in texts.to_pylist())
    assert rows["terms", "domain terms"]["items"] == having


def test_without_a_dictionary_there_are_no_slices_by_terms() -> None:
    assert not any(dimension == "terms" for dimension, _ in sliced("classification")[0])


@given(st.lists(st.integers(-50, 50), min_size=1), st.integers(2, 6))
def test_every_value_lies_in_its_bin(values: list[int], bins: int) -> None:
    codes, names = quantile_bins(values, bins)
    assert 1 <= len(names) <= bins
    for value, code in zip(values, codes, strict=True):
        ends = [float(end) for end in names[code].split(" to ")]
        assert ends[0] <= value <= ends[-1]
    order = np.argsort(values, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()


def test_the_bootstrap_agrees_with_wilson_where_both_apply() -> None:
    right = np.r_[np.ones(160), np.zeros(40)]
    wilson = binomtest(160, 200).proportion_ci(method="wilson")
    found = ratio_interval(right, np.ones(200), [1])
    assert found == pytest.approx((wilson.low, wilson.high), abs=0.015)


def test_items_of_one_group_are_no_independent_evidence() -> None:
    """Groups that are right or wrong as a whole: the interval is that of as many items."""
    labeled = labeled_set("classification")
    said = predictions_with_errors(labeled, "classification")
    items = said["item_id"].to_pylist()
    right = {item: number // 6 % 2 for number, item in enumerate(items)}
    rows = [
        {**row, "label": "few", "predicted": ("many", "few")[right[row["item_id"]]]}
        for row in said.to_pylist()
    ]
    table = pa.Table.from_pylist(rows, said.schema)
    groups = {item: str(number // 6) for number, item in enumerate(items)}
    alone, together = (
        slices_of(
            table, dict.fromkeys(items, "x"), {}, each, Terms(()), spec_of("classification")
        ).to_pylist()[0]
        for each in ({item: item for item in items}, groups)
    )
    assert (alone["groups"], together["groups"]) == (30, 10)
    assert together["value"] == alone["value"]
    assert together["high"] - together["low"] > 1.5 * (alone["high"] - alone["low"])


def judged(items: int, value: float, low: float, high: float, groups: int = 20) -> Any:
    """The gate over one slice of a test split with 0.8 of all right."""
    shared = {"split": TEST, "metric": "accuracy", "overall": 0.8}
    whole = {"dimension": "all", "slice": "all", "items": 999, "groups": 99, "value": 0.8}
    whole |= {"low": 0.78, "high": 0.82, "drop": 0.0, "least_drop": -0.02}
    part = {"dimension": "class", "slice": "rare", "items": items, "groups": groups}
    part |= {"value": value}
    part |= {"low": low, "high": high, "drop": 0.8 - value, "least_drop": 0.8 - high}
    table = pa.Table.from_pylist([{**shared, **whole}, {**shared, **part}], SLICES)
    spec = spec_of("classification", evaluate={"slices": {"max_drop": 0.2, "min_items": 30}})
    (gate,) = gates_of(table, spec)
    return gate


def test_a_collapsed_slice_is_refused_with_its_name() -> None:
    gate = judged(items=400, value=0.3, low=0.26, high=0.35)
    assert not gate.passed
    assert gate.blocking
    assert gate.value == pytest.approx(0.45)
    assert "class rare (400 items in 20 groups): accuracy 0.300" in gate.why
    assert "evaluate.slices.max_drop" in gate.why


def test_a_small_slice_and_one_that_may_be_chance_refuse_nothing() -> None:
    assert judged(items=29, value=0.0, low=0.0, high=0.1).passed
    assert judged(items=40, value=0.5, low=0.35, high=0.65).passed
    assert judged(items=400, value=0.0, low=0.0, high=0.0, groups=4).passed


def test_slices_that_were_emptied_by_hand_pass_no_gate() -> None:
    (gate,) = gates_of(SLICES.empty_table(), spec_of("classification"))
    assert not gate.passed
    assert "materialize" in gate.why


def test_a_drop_that_is_no_number_passes_no_gate() -> None:
    assert not judged(items=400, value=0.7, low=0.6, high=float("nan")).passed


def test_worst_slices_come_first() -> None:
    labeled = labeled_set("classification")
    said = predictions_with_errors(labeled, "classification")
    texts = dict(zip(labeled["item_id"].to_pylist(), labeled["text"].to_pylist(), strict=True))
    alone = dict(zip(texts, texts, strict=True))
    spec = spec_of("classification", evaluate={"slices": {"min_items": 5}})
    worst = worst_of(slices_of(said, texts, {}, alone, Terms(()), spec), TEST, spec, 3)
    assert worst[0]["slice"] == "many"  # the model reads eight words
    assert all(row["items"] >= 5 for row in worst)
    assert all(row["dimension"] != "all" for row in worst)
