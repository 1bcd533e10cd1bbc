"""The report of agreement: published sets of annotators, and its figures by scope."""

import csv
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vertical_assets.labels.agreement import (
    agreement_report,
    alpha_of,
    batches_of,
    by_labels,
    pair_heat_map,
    pictures,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS
from vertical_assets_tests.conftest import shared_data, tiny


def spec_of(labels: Sequence[str], rounds: int = 200, **task: Any) -> VerticalSpec:
    task = {"name": "t", "labels": {label: label for label in labels}, **task}
    return VerticalSpec(**tiny(task=task, agreement={"bootstrap": rounds}))


def said(rows: list[tuple[str, str, str]]) -> pa.Table:
    """ANNOTATIONS from (item, annotator, label)."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "t",
                "annotator_id": who,
                "annotator_kind": "human",
                "label": label,
                "batch": "b",
                "created_at": None,
            }
            for item, who, label in rows
        ],
        ANNOTATIONS,
    )


def value(report: pa.Table, scope: str, name: str, statistic: str = "alpha") -> float:
    return next(
        row["value"]
        for row in report.to_pylist()
        if (row["scope"], row["name"], row["statistic"]) == (scope, name, statistic)
    )


def ratings(columns: str) -> pa.Table:
    """Patients rated by anaesthetists (Dawid and Skene 1979, table 1): of the first, who rated each
    patient three times, `all` times as so many annotators, or the `first`.
    """
    with (shared_data("dawid_skene_1979") / "anaesthetic_ratings.csv").open() as file:
        rows = list(csv.DictReader(file))
    return said(
        [
            (row["patient"], f"{row['observer']}.{row['replicate']}", row["rating"])
            for row in rows
            if columns == "all" or row["replicate"] == "1"
        ]
    )


@pytest.mark.parametrize(
    ("columns", "level", "alpha"),
    [
        ("all", "nominal", 0.5826),
        ("all", "ordinal", 0.7956),
        ("all", "interval", 0.7910),
        ("first", "nominal", 0.5843),
        ("first", "ordinal", 0.8119),
        ("first", "interval", 0.7979),
    ],
)
def test_anaesthetists_at_every_level(columns: str, level: str, alpha: float) -> None:
    spec = spec_of("1234", level=level)
    found, low, high = alpha_of(ratings(columns), spec)
    assert found == pytest.approx(alpha, abs=5e-5)
    assert low is not None
    assert high is not None
    assert low < alpha < high


def test_real_annotators_far_below_the_bar() -> None:
    folder = shared_data("pubmedqa")
    items = json.loads((folder / "ori_pqal.json").read_text())
    rows = [
        (item, who, values[f"{who}_pred"])
        for item, values in items.items()
        for who in ("reasoning_required", "reasoning_free")
    ]
    report = agreement_report(said(rows), spec_of(["yes", "no", "maybe"], 1000))
    first = report.to_pylist()[0]
    assert first["value"] == pytest.approx(0.4555, abs=5e-5)
    assert first["low"] < 0.4555 < first["high"] < 0.85
    assert value(report, "overall", "all", "percent") == pytest.approx(0.701, abs=5e-4)
    # Two annotators: the pair is the whole, and so is each against the rest.
    pair = "reasoning_required | reasoning_free"
    assert value(report, "pair", pair) == pytest.approx(first["value"], abs=1e-9)
    assert value(report, "annotator", "reasoning_free") == pytest.approx(first["value"], abs=1e-9)
    assert value(report, "pair", pair, "ac1") == value(report, "overall", "all", "ac1")


def test_crowd_workers_of_a_published_set() -> None:
    with (shared_data("get_another_label") / "BarzanMozafari.labels.csv").open() as file:
        rows = [(r["item"], r["annotator"], r["label"]) for r in csv.DictReader(file)]
    report = agreement_report(said(rows), spec_of(["0", "1"]))
    first = report.to_pylist()[0]
    assert first["value"] == pytest.approx(0.4059, abs=5e-5)
    assert first["items"] == 1000
    # With two classes, one against the other is the whole.
    assert value(report, "class", "0") == pytest.approx(first["value"], abs=1e-9)
    heat, names = pair_heat_map(report)
    assert heat.shape == (pictures.MOST_PEOPLE, pictures.MOST_PEOPLE)
    assert np.allclose(heat, heat.T, equal_nan=True)
    assert len(names) < 83


ANN, BOB, CY = "ann", "bob", "cy"
SMALL = [
    *[(str(item), who, "ab"[item % 2]) for item in range(6) for who in (ANN, BOB)],
    *[(str(item), CY, "abbaab"[item]) for item in range(6)],
    ("only cy", CY, "b"),
]


def test_pairs_and_annotators_are_what_their_own_labels_say() -> None:
    """The figure of a pair is that of a table with their labels alone."""
    spec = spec_of("ab")
    report = agreement_report(said(SMALL), spec)
    for one, other in ((ANN, BOB), (ANN, CY), (BOB, CY)):
        of_two = said([row for row in SMALL if row[1] in (one, other)])
        assert value(report, "pair", f"{one} | {other}") == pytest.approx(alpha_of(of_two, spec)[0])
    # ann and bob say the same: for cy the rest is as one of them, doubled.
    assert value(report, "annotator", CY) == pytest.approx(value(report, "pair", f"{ANN} | {CY}"))
    assert value(report, "annotator", CY, "percent") == pytest.approx(4 / 6)
    # For ann it is bob and cy in equal parts: 6 and 4 of 6 items.
    assert value(report, "annotator", ANN, "percent") == pytest.approx(5 / 6)
    items = {(r["scope"], r["name"]): r["items"] for r in report.to_pylist()}
    assert items["annotator", CY] == items["pair", f"{ANN} | {CY}"] == items["overall", "all"] == 6


def test_of_too_many_pairs_those_that_share_most_items_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_labels, "MOST_PAIRS", 1)
    monkeypatch.setattr(by_labels, "AT_ONCE", 1)
    report = agreement_report(said(SMALL[:-2]), spec_of("ab")).to_pylist()
    assert {r["name"] for r in report if r["scope"] == "pair"} == {f"{ANN} | {BOB}"}


def with_batches(rows: Sequence[tuple[str, str, str, str, str | None]]) -> pa.Table:
    """ANNOTATIONS from (item, annotator, label, batch, created_at)."""
    table = said([row[:3] for row in rows])
    for number, name in ((3, "batch"), (4, "created_at")):
        column = pa.array([row[number] for row in rows], pa.string())
        table = table.set_column(ANNOTATIONS.get_field_index(name), ANNOTATIONS.field(name), column)
    return table


def test_batches_in_the_order_in_which_they_began() -> None:
    days = {"zebra": "2026-01-01", "apple": "2026-02-01", "bad": None, "worse": None}
    rows = [("1", who, "a", batch, day) for who in (ANN, BOB) for batch, day in days.items()]
    assert batches_of(with_batches(rows)) == ["bad", "worse", "zebra", "apple"]


def test_what_somebody_says_later_of_an_item_replaces_what_they_said_before() -> None:
    once = with_batches(
        [
            ("1", ANN, "a", "first", "2026-01-01"),
            ("1", BOB, "a", "first", "2026-01-01"),
            ("2", ANN, "b", "first", "2026-01-01"),
            ("2", BOB, "b", "first", "2026-01-01"),
        ]
    )
    again = [("2", ANN, "a", "second", "2026-02-01"), ("1", BOB, "b", "second", None)]
    report = agreement_report(pa.concat_tables([with_batches(again), once]), spec_of("ab"))
    assert value(report, "overall", "all", "percent") == pytest.approx(0.5)


def test_the_report_names_every_class_and_pair() -> None:
    rows = [(str(n), who, "a" if n % 3 else "b") for n in range(9) for who in ("x", "y", "z")]
    report = agreement_report(said(rows), spec_of(["a", "b", "never used"])).to_pylist()
    assert {(r["scope"], r["name"]) for r in report} == {
        ("overall", "all"),
        ("class", "a"),
        ("class", "b"),
        ("pair", "x | y"),
        ("pair", "x | z"),
        ("pair", "y | z"),
        ("annotator", "x"),
        ("annotator", "y"),
        ("annotator", "z"),
    }
    assert all(r["value"] == pytest.approx(1.0) for r in report)


def test_items_with_one_label_prove_nothing() -> None:
    alone = said([("1", "x", "a"), ("2", "x", "b")])
    assert alpha_of(alone, spec_of("ab")) == (None, None, None)
    assert agreement_report(alone, spec_of("ab")).num_rows > 0
    assert alpha_of(said([]), spec_of("ab")) == (None, None, None)


def test_labels_of_an_older_standard_are_named() -> None:
    with pytest.raises(ValueError, match="item 1, annotator x, batch 'b': 'c' is none of"):
        alpha_of(said([("1", "x", "c")]), spec_of("ab"))
