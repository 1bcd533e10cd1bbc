"""Agreement on sets and spans: the library's values, and its interval."""

from typing import Any

import krippendorff
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.labels.agreement import agreement_report
from vertical_assets.labels.agreement.by_sums import character_counts, span_f1, sums_of
from vertical_assets.labels.simulation import simulate_annotations
from vertical_assets.labels.targets import COLUMN, Span, Target, to_cell
from vertical_assets.spec import Simulate, TaskKind, VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS
from vertical_assets_tests.bc5cdr import bc5cdr, documents
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labels.agreement.test_report import value
from vertical_assets_tests.labels.test_kinds import corpus


def said(kind: TaskKind, rows: list[tuple[str, str, Any]], characters: int = 30) -> pa.Table:
    """ANNOTATIONS from (item, annotator, target)."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "t",
                "annotator_id": who,
                "annotator_kind": "human",
                COLUMN[kind]: to_cell(target, kind),
                "characters": characters,
                "batch": "b",
            }
            for item, who, target in rows
        ],
        ANNOTATIONS,
    )


def spec_of(kind: TaskKind, labels: str = "xyz") -> VerticalSpec:
    task: dict[str, Any] = {"name": "t", "kind": kind}
    if kind != "question_answering":
        task["labels"] = {label: label for label in labels}
    return VerticalSpec(**tiny(task=task, agreement={"bootstrap": 50}))


LABELS = ("x", "y")
spans = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from(LABELS)), max_size=3
).map(
    lambda given: tuple(
        Span(start, min(start + size, 12), label)
        for number, (start, size, label) in enumerate(given)
        if all(abs(start - other) >= 4 for other, _, _ in given[:number])
    )
)


@settings(max_examples=40)
@given(st.lists(st.lists(spans, min_size=2, max_size=3), min_size=1, max_size=6))
def test_span_alpha_is_the_librarys_over_characters(items: list[list[tuple[Span, ...]]]) -> None:
    units = np.vstack([character_counts(item, 12, LABELS) for item in items])
    used = units.sum(axis=0) > 0
    found = sums_of(items, [12] * len(items), LABELS, "entities").alpha()
    if used.sum() < 2:
        assert found == 1.0  # nobody marked anything
        return
    expected = krippendorff.alpha(value_counts=units[:, used], level_of_measurement="nominal")
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.sets(st.sampled_from(LABELS)).map(tuple), min_size=2, max_size=4),
        min_size=1,
        max_size=8,
    )
)
def test_multi_label_alpha_is_the_mean_of_the_labels(items: list[list[tuple[str, ...]]]) -> None:
    expected = []
    for label in LABELS:
        counts = np.array([[sum(label in s for s in item)] for item in items])
        counts = np.hstack([counts, [[len(item)] for item in items] - counts])
        if (counts.sum(axis=0) > 0).all():
            expected.append(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    found = sums_of(items, [0] * len(items), LABELS, "multi_label").alpha()
    assert found == pytest.approx(np.mean(expected) if expected else 1.0, abs=1e-9)


def test_characters_tell_where_spans_begin() -> None:
    """Two spans side by side are not one long one."""
    one, two = (Span(0, 4, "x"),), (Span(0, 2, "x"), Span(2, 4, "x"))
    counts = character_counts([one, two], 5, ["x"])
    assert counts.tolist() == [[0, 2, 0], [0, 0, 2], [0, 1, 1], [0, 0, 2], [2, 0, 0]]


def test_annotators_who_err_more_agree_less_on_bc5cdr() -> None:
    rows = documents("train", 120)
    spec = VerticalSpec(**bc5cdr())
    alphas = []
    for rate in (0.0, 0.03, 0.3):
        how = Simulate(gold="entities", annotators=3, error_rate=rate)
        table = simulate_annotations(corpus(rows, "bc5cdr"), how, spec).annotations
        report = agreement_report(table, spec)
        overall = report.to_pylist()[0]
        assert overall["low"] <= overall["value"] <= overall["high"]
        assert overall["items"] == 120
        alphas.append(overall["value"])
    assert alphas[0] == 1.0
    assert alphas[0] > alphas[1] > spec.agreement.alpha > alphas[2]


def test_the_report_names_every_label_and_pair() -> None:
    rows = [
        (str(n), who, ("x",) if n % 2 else ("x", "y") if n % 3 else ())
        for n in range(12)
        for who in ("ann", "bob")
    ]
    rows.append(("alone", "cy", ("x",)))
    report = agreement_report(said("multi_label", rows), spec_of("multi_label"))
    assert [(r["scope"], r["name"], r["statistic"]) for r in report.to_pylist()] == [
        ("overall", "all", "alpha"),
        ("overall", "all", "ac1"),
        ("overall", "all", "percent"),
        ("class", "x", "alpha"),
        ("class", "x", "ac1"),
        ("class", "y", "alpha"),
        ("class", "y", "ac1"),
        ("pair", "ann | bob", "alpha"),
        ("pair", "ann | bob", "percent"),
        ("annotator", "ann", "alpha"),
        ("annotator", "bob", "alpha"),
    ]
    assert all(row["value"] == pytest.approx(1.0) for row in report.to_pylist())


def test_span_f1_is_one_annotators_against_the_others() -> None:
    """Half of four, and of two, spans are the same: 2 x 2 / 6."""
    a = (Span(0, 1, "x"), Span(2, 3, "x"), Span(4, 5, "x"), Span(6, 7, "y"))
    b = (Span(0, 1, "x"), Span(6, 7, "y"))
    assert span_f1([[a, b]]) == pytest.approx(4 / 6)


def test_an_annotator_against_the_rest_counts_others_of_an_item_as_one() -> None:
    """bob and cy say the same, so that ann differs from either as much as from both."""
    marked = {"ann": (Span(0, 4, "x"),), "bob": (Span(0, 9, "x"),), "cy": (Span(0, 9, "x"),)}
    rows = [(item, who, marked[who]) for item in "12" for who in marked]
    rows += [("3", who, (Span(2, 5, "y"),)) for who in marked]
    report = agreement_report(said("entities", rows), spec_of("entities"))
    with_one = value(report, "pair", "ann | bob")
    assert value(report, "annotator", "ann") == pytest.approx(with_one)
    assert with_one < value(report, "annotator", "bob") < value(report, "pair", "bob | cy") == 1.0
    items = {r["name"]: r["items"] for r in report.to_pylist() if r["scope"] == "annotator"}
    assert items == {"ann": 3, "bob": 3, "cy": 3}


def test_items_that_one_annotator_saw_prove_nothing() -> None:
    cases: list[tuple[TaskKind, Target]] = [
        ("multi_label", ("x",)),
        ("entities", (Span(0, 4, "x"),)),
    ]
    for kind, target in cases:
        report = agreement_report(said(kind, [("1", "a", target)]), spec_of(kind))
        assert set(report["value"].to_pylist()) == {None}


def test_questions_about_one_text_are_items_of_their_own() -> None:
    table = said("question_answering", [("1", who, (Span(0, 3, "answer"),)) for who in "ab"] * 2)
    asked = pa.array(["why?", "why?", "how?", "how?"])
    table = table.set_column(table.column_names.index("question"), "question", asked)
    report = agreement_report(table, spec_of("question_answering"))
    assert report.to_pylist()[0]["items"] == 2


def test_a_batch_read_before_its_text_was_shortened_is_compared_all_the_same() -> None:
    longer = said("entities", [("1", "a", (Span(20, 25, "x"),))], characters=30)
    shorter = said("entities", [("1", "b", (Span(0, 5, "x"),))], characters=10)
    report = agreement_report(pa.concat_tables([longer, shorter]), spec_of("entities"))
    found = value(report, "overall", "all")
    assert found is not None
    assert found < 0.1
