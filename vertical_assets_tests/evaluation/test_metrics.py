"""Metrics: values worked out by hand, and torchmetrics'; the report, its gates and its page."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_f1_score

from vertical_assets.evaluation.metrics import (
    classification_rows,
    figures_of,
    gates_of,
    macro_f1,
    report_of,
    value_of,
)
from vertical_assets.evaluation.names import INCUMBENT, MAIN
from vertical_assets.evaluation.pages import comparison, pictures_of, with_interval
from vertical_assets.evaluation.significance import gain_over
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.baselines.names import XGBOOST
from vertical_assets.training.predictions import predictions_table
from vertical_assets_tests.conftest import tiny

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


FIRST = "tfidf_logistic_regression"


def said(right: list[bool], model: str | None = None, labels: tuple[str, ...] = LABELS) -> pa.Table:
    """PREDICTIONS of as many items, of which a model has these right."""
    codes = np.arange(len(right)) % len(labels)
    items = pa.table(
        {
            "item_id": [str(n) for n in range(len(right))],
            "split": ["test"] * len(right),
            "label": [labels[code] for code in codes],
        }
    )
    wrong = ~np.array(right)
    probabilities = np.eye(len(labels))[(codes + wrong) % len(labels)] * 0.7 + 0.3 / len(labels)
    return predictions_table(items, probabilities, labels, model=model)


def report(
    ours: int, first: int, second: int = 0, incumbent: int | None = None, items: int = 90
) -> pa.Table:
    """EVALUATION of models that have so many items right."""

    def of(many: int, model: str | None = None) -> pa.Table:
        return said([n < many for n in range(items)], model)

    baselines = pa.concat_tables([of(first, FIRST), of(second, XGBOOST)])
    released = None if incumbent is None else of(incumbent)
    return report_of(of(ours), baselines, ["a", "a", "b"], LABELS, seed=1, incumbent=released)


def test_the_report_compares_model_baselines_and_majority() -> None:
    found = report(81, 60, 50)
    accuracy = {"finetuned": 0.9, FIRST: 60 / 90, XGBOOST: 50 / 90, "majority": 1 / 3}
    for model, value in accuracy.items():
        assert value_of(found, model, "test", "accuracy") == pytest.approx(value)
        if model != "finetuned":
            gain = gain_over(found, model, "test", "accuracy")
            assert gain.value == pytest.approx(0.9 - value)
            assert gain.low is not None
            assert gain.high is not None
            assert 0 < gain.low < gain.value < gain.high
            assert gain_over(found, model, "test", MAIN).p == 2 / 1001
    # 21 items are right by our model alone, none by the baseline alone.
    assert gain_over(found, FIRST, "test", MAIN).mcnemar_p == pytest.approx(2 / 2**21)
    assert set(figures_of(found, "majority", "test")) < set(figures_of(found, FIRST, "test"))


def test_the_incumbent_is_one_more_to_compare_with() -> None:
    found = report(81, 60, 50, incumbent=85)
    assert gain_over(found, INCUMBENT, "test", MAIN).value < 0
    assert gain_over(report(81, 60), INCUMBENT, "test", MAIN).words == "gain undefined"


def test_an_incumbent_of_other_items_is_no_comparison() -> None:
    ours, released = said([True] * 6), said([True] * 4)
    with pytest.raises(ValueError, match=r"incumbent says nothing about 2 of 6 items, e\.g\. 4"):
        report_of(ours, None, [], LABELS, incumbent=released)


def test_the_order_of_items_does_not_matter() -> None:
    ours, released = said([True, False] * 9), said([True, True, False] * 6)
    one, other = (
        report_of(ours, None, [], LABELS, incumbent=each)
        for each in (released, released.take(list(range(18))[::-1]))
    )
    assert one == other


def test_the_same_seed_gives_the_same_report() -> None:
    assert report(81, 60) == report(81, 60)


@pytest.mark.parametrize(
    ("ours", "second", "beats", "excellent"),
    [(85, 50, True, True), (75, 50, True, False), (75, 80, False, False)],
)
def test_gates_read_the_stored_report(ours: int, second: int, beats: bool, excellent: bool) -> None:
    """The model has to beat the best baseline, whichever that is."""
    gates = {gate.gate: gate for gate in gates_of(report(ours, 60, second), VerticalSpec(**tiny()))}
    assert (gates["beats_baseline"].passed, gates["beats_baseline"].blocking) == (beats, True)
    assert (gates["f1_excellent"].passed, gates["f1_excellent"].blocking) == (excellent, False)
    best = XGBOOST if second > 60 else FIRST
    assert f"best baseline {best}" in gates["beats_baseline"].why
    assert "95 % interval" in gates["beats_baseline"].why


def test_a_report_without_baselines_passes_no_gate() -> None:
    alone = report_of(said([True] * 9), None, [], LABELS)
    gate = gates_of(alone, VerticalSpec(**tiny()))[0]
    assert (gate.gate, gate.passed) == ("beats_baseline", False)


def test_the_page_shows_figures_with_intervals_gains_and_chance() -> None:
    table = {row["metric"]: row for row in comparison(report(81, 60, 50), "test", "classification")}
    assert table["accuracy"]["finetuned"].startswith("0.900 (0.8")
    assert table["accuracy"][f"gain over {FIRST}"].startswith("+0.233 (+0.1")
    assert table["ece"]["majority"] == ""
    assert table["p of McNemar's exact test"][f"gain over {FIRST}"] == "9.5e-07"
    assert table["p of the f1_macro gain (paired bootstrap)"][f"gain over {XGBOOST}"] == "0.002"


@pytest.mark.parametrize(
    ("value", "low", "high", "sign", "shown"),
    [
        (0.7436, 0.7349, 0.7521, "", "0.744 (0.735-0.752)"),
        (0.061, 0.05, 0.072, "+", "+0.061 (+0.050..+0.072)"),
        (-0.1, -0.2, 0.3, "", "-0.100 (-0.200..0.300)"),
        (1234.5, None, None, "", "1234.5"),
    ],
)
def test_figures_with_intervals(
    value: float, low: float | None, high: float | None, sign: str, shown: str
) -> None:
    assert with_interval({"value": value, "low": low, "high": high}, sign) == shown


def test_two_labels_have_curves_several_have_none() -> None:
    two = ("no", "yes")
    ours = said([True, True, False] * 10, labels=two)
    found = report_of(ours, None, [], two)
    assert figures_of(found, "finetuned", "test").keys() >= {"roc_auc", "ece", "f1_micro"}
    pictures = pictures_of(ours, found, "test", two, "classification")
    assert pictures.keys() == {
        "bars",
        "confusion_matrix",
        "calibration",
        "roc",
        "precision_recall",
    }
    assert all(png.startswith(b"\x89PNG") for _, png in pictures.values())
    several = pictures_of(said([True] * 9), report(81, 60), "test", LABELS, "classification")
    assert several.keys() == {"bars", "confusion_matrix", "calibration"}
