"""The cascade's first stage: scikit-learn's answers without scikit-learn; the rest is skipped."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vertical_assets.inference.cascade import FirstStage, cascaded, first_stage
from vertical_assets.labels.gold.lexical import tfidf_logistic_regression
from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.cascade import (
    best_temperature,
    coverage_curve,
    coverage_lines,
    fit_first_stage,
)
from vertical_assets_tests.conftest import reviews, tiny

SPEC = VerticalSpec(**tiny(model={**tiny()["model"], "cascade": {"threshold": 0.8}}))


def items(rows: list[dict[str, str]]) -> Items:
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def halves() -> tuple[Items, Items]:
    rows = reviews(400)
    return items(rows[::2]), items(rows[1::2])


@pytest.fixture(scope="module")
def stage(halves: tuple[Items, Items]) -> FirstStage:
    return fit_first_stage(*halves, SPEC)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_it_says_what_scikit_learn_says(language: str) -> None:
    texts = ["Good  value, would buy", "bad bad service", "good service", "Bad value", "good buy"]
    labels = ["positive", "negative", "positive", "negative", "positive"]
    asked = [*texts, "service", "nothing known", ""]
    spec = VerticalSpec(**{**SPEC.model_dump(), "language": language})
    stage = fit_first_stage(Items(texts, labels, texts), Items(texts, labels, texts), spec)
    logits = stage.logits(asked)
    uncalibrated = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = tfidf_logistic_regression(texts, labels, asked, spec)
    assert np.allclose(uncalibrated, expected, atol=1e-5)


def test_it_survives_its_files_without_pickle(stage: FirstStage, tmp_path: Path) -> None:
    assert first_stage(tmp_path) is None
    stage.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "cascade.json",
        "cascade.safetensors",
    ]
    opened = first_stage(tmp_path)
    assert opened is not None
    texts = ["质量很好", "太差了"]
    assert np.array_equal(opened.probabilities(texts), stage.probabilities(texts))
    assert opened.threshold == 0.8


def test_the_network_is_asked_only_where_the_first_stage_is_unsure(
    stage: FirstStage, halves: tuple[Items, Items]
) -> None:
    texts = halves[1].texts
    asked: list[str] = []

    def network(some: Sequence[str]) -> np.ndarray:
        asked.extend(some)
        return np.tile([0.25, 0.75], (len(some), 1))

    found = cascaded(stage, texts, network)
    sure = stage.sure(stage.probabilities(texts))
    assert 0 < sure.sum() < len(texts)
    assert asked == [text for text, skipped in zip(texts, sure, strict=True) if not skipped]
    assert np.allclose(found[~sure], [0.25, 0.75])
    assert (found[sure].max(axis=1) >= 0.8).all()


def test_temperature_makes_confidence_honest() -> None:
    """Answers that are right three times of four, claimed with 99.9 %."""
    logits = np.tile([7.0, 0.0], (400, 1))
    gold = np.array([0, 0, 0, 1] * 100)
    temperature = best_temperature(logits, gold)
    assert 1 / (1 + np.exp(-7.0 / temperature)) == pytest.approx(0.75, abs=1e-3)


def test_the_curve_trades_coverage_for_accuracy() -> None:
    first = np.array([[0.95, 0.05], [0.9, 0.1], [0.6, 0.4], [0.55, 0.45]])
    network = np.array([[0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    curve = coverage_curve(first, network, np.array([0, 0, 1, 1]), 0.9)
    by_threshold = {row["threshold"]: row for row in curve}
    assert by_threshold[0.9] == {
        "threshold": 0.9,
        "coverage": 0.5,
        "first_stage_accuracy": 1.0,
        "accuracy": 1.0,
    }
    assert by_threshold[0.0]["accuracy"] == 0.5  # the first stage alone
    assert by_threshold[1.0]["accuracy"] == 0.75  # the network alone
    assert coverage_lines(curve)["together"][0][-1] == 1.0
