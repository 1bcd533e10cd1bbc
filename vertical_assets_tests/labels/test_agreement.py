"""Agreement: published values, real annotators, and an interval that covers the truth."""

import csv
import json

import krippendorff
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.labels.agreement import (
    agreement_report,
    alpha,
    bootstrap_alpha,
    count_matrix,
    percent_agreement,
)
from vertical_assets.store.contracts import ANNOTATIONS
from vertical_assets_tests.conftest import shared_data


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


def test_published_examples_have_their_published_alpha() -> None:
    examples = json.loads((shared_data("krippendorff_examples") / "examples.json").read_text())
    for example in examples:
        rows = [
            (str(unit), f"coder {coder}", str(label))
            for coder, line in enumerate(example["rows"])
            for unit, label in enumerate(line)
            if label is not None
        ]
        labels = sorted({label for _, _, label in rows})
        value = alpha(count_matrix(said(rows), labels))
        assert value == pytest.approx(example["alpha"]["nominal"], abs=5e-4), example["name"]


def test_real_annotators_far_below_the_bar() -> None:
    folder = shared_data("pubmedqa")
    items = json.loads((folder / "ori_pqal.json").read_text())
    rows = [
        (item, who, values[f"{who}_pred"])
        for item, values in items.items()
        for who in ("reasoning_required", "reasoning_free")
    ]
    counts = count_matrix(said(rows), ["yes", "no", "maybe"])
    assert alpha(counts) == pytest.approx(0.4555, abs=5e-5)
    assert percent_agreement(counts) == pytest.approx(0.701, abs=5e-4)
    low, high = np.percentile(bootstrap_alpha(counts, 1000, np.random.default_rng(1)), [2.5, 97.5])
    assert low < 0.4555 < high < 0.85


def test_crowd_workers_of_a_published_set() -> None:
    with (shared_data("get_another_label") / "BarzanMozafari.labels.csv").open() as file:
        rows = [(r["item"], r["annotator"], r["label"]) for r in csv.DictReader(file)]
    report = agreement_report(said(rows), ["0", "1"], rounds=200, seed=1).to_pylist()
    assert report[0]["value"] == pytest.approx(0.4059, abs=5e-5)
    assert report[0]["items"] == 1000


counts_strategy = st.lists(
    st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(lambda c: sum(c) >= 2),
    min_size=4,
    max_size=30,
).filter(lambda rows: (np.array(rows).sum(axis=0) > 0).sum() > 1)


@given(counts=counts_strategy)
def test_the_bootstraps_closed_form_is_krippendorffs_alpha(counts: list[list[int]]) -> None:
    """One round in which every item is drawn once must give the library's own value."""

    class EachOnce:
        def multinomial(self, n: int, pvals: np.ndarray, size: int) -> np.ndarray:
            return np.tile(np.rint(pvals * n).astype(int), (size, 1))

    table = np.array(counts)
    (value,) = bootstrap_alpha(table, rounds=1, rng=EachOnce())
    used = table.sum(axis=0) > 0
    expected = krippendorff.alpha(value_counts=table[:, used], level_of_measurement="nominal")
    assert value == pytest.approx(expected, abs=1e-9)


def test_the_report_names_every_class_and_pair() -> None:
    rows = [(str(n), who, "a" if n % 3 else "b") for n in range(9) for who in ("x", "y", "z")]
    report = agreement_report(said(rows), ["a", "b", "never used"], 50, 1).to_pylist()
    assert {(r["scope"], r["name"]) for r in report} == {
        ("overall", "all"),
        ("class", "a"),
        ("class", "b"),
        ("pair", "x | y"),
        ("pair", "x | z"),
        ("pair", "y | z"),
    }
    assert all(r["value"] == pytest.approx(1.0) for r in report)


def test_items_with_one_label_prove_nothing() -> None:
    counts = count_matrix(said([("1", "x", "a"), ("2", "x", "b")]), ["a", "b"])
    assert np.isnan(alpha(counts))
