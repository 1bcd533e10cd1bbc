"""Scores of a classification, in the sample and in every round, against scikit-learn's and
torchmetrics' of the same items.
"""

import time

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error

from vertical_assets.evaluation.classification import (
    average_precision,
    classification_scores,
    confusion,
    reliability,
    roc_auc,
)
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.scores import Score

LABELS = ("a", "b", "c", "never")


def said_of(gold: np.ndarray, labels: tuple[str, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, predicted) of a model that is often right."""
    generator = np.random.default_rng(seed)
    codes = np.array([labels.index(label) for label in gold])
    raw = generator.gamma(0.5, size=(len(gold), len(labels)))
    raw[np.arange(len(gold)), codes] += generator.gamma(1.0, size=len(gold))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return probabilities, np.array(labels)[probabilities.argmax(axis=1)]


def by_name(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(score.label, score.metric): score for score in scores}


def test_every_round_agrees_with_scikit_learn() -> None:
    """How often an item was drawn is its weight there."""
    gold = np.random.default_rng(1).choice(LABELS[:3], 300, p=[0.7, 0.27, 0.03])
    said = said_of(gold, LABELS[:3], 2)[1]
    draws = Draws(map(str, range(300)), seed=4, rounds=20)
    found = by_name(classification_scores(list(gold), list(said), LABELS, draws))
    assert not any(label == "never" for label, _ in found)
    for number in range(21):
        weights = draws.weights[draws.of_item, number]
        drawn = sorted(set(gold[weights > 0]) | set(said[weights > 0]))
        score = accuracy_score(gold, said, sample_weight=weights)
        for metric in ("accuracy", "f1_micro", "recall_weighted"):
            assert found["all", metric].rounds[number] == pytest.approx(score, abs=1e-9)
        for average in ("macro", "weighted", None):
            values = precision_recall_fscore_support(
                gold, said, labels=drawn, average=average, sample_weight=weights, zero_division=0.0
            )
            for name, value in zip(("precision", "recall", "f1"), values, strict=False):
                ours = (
                    [found["all", f"{name}_{average}"].rounds[number]]
                    if average
                    else [found[label, name].rounds[number] for label in drawn]
                )
                assert ours == pytest.approx(np.atleast_1d(value), abs=1e-9)


def test_calibration_error_agrees_with_torchmetrics() -> None:
    gold = np.random.default_rng(1).choice(LABELS[:3], 500)
    probabilities, said = said_of(gold, LABELS[:3], 2)
    sure = probabilities.max(axis=1)
    scores = classification_scores(list(gold), list(said), LABELS[:3], None, list(sure))
    expected = multiclass_calibration_error(
        torch.tensor(probabilities),
        torch.tensor([LABELS.index(label) for label in gold]),
        num_classes=3,
        n_bins=15,
    )
    assert by_name(scores)["all", "ece"].value == pytest.approx(float(expected), abs=1e-6)
    mean, accuracy, items = reliability(sure, gold == said)
    distance = (np.abs(mean - accuracy) * items).sum() / 500
    assert distance == pytest.approx(float(expected), abs=1e-6)


def test_areas_under_both_curves_agree_with_scikit_learn() -> None:
    """Scores on a coarse grid: ties count half."""
    gold = np.random.default_rng(1).choice(["no", "yes"], 400, p=[0.8, 0.2])
    probabilities, said = said_of(gold, ("no", "yes"), 3)
    probabilities = np.round(probabilities, 2)
    draws = Draws(map(str, range(400)), seed=4, rounds=10)
    found = by_name(
        classification_scores(
            list(gold), list(said), ("no", "yes"), draws, probabilities=probabilities
        )
    )
    for number in range(11):
        weights = draws.weights[draws.of_item, number]
        area = roc_auc_score(gold == "yes", probabilities[:, 1], sample_weight=weights)
        assert found["all", "roc_auc"].rounds[number] == pytest.approx(area, abs=1e-9)
        for code, label in enumerate(("no", "yes")):
            precision = average_precision_score(
                gold == label, probabilities[:, code], sample_weight=weights
            )
            ours = found[label, "average_precision"].rounds[number]
            assert ours == pytest.approx(precision, abs=1e-9)


def test_curves_need_both_labels() -> None:
    weights = np.ones((3, 1))
    same, scores = np.ones(3, bool), np.array([0.1, 0.2, 0.3])
    assert np.isnan(roc_auc(same, scores, weights)).all()
    assert np.isnan(average_precision(~same, scores, weights)).all()
    found = classification_scores(
        ["x"] * 3, ["x"] * 3, ("x", "y"), None, None, np.full((3, 2), 0.5)
    )
    assert "roc_auc" not in {score.metric for score in found}


def test_a_class_that_a_round_did_not_draw_has_no_f1_there() -> None:
    """Else a rare class, right whenever it is there, would look bad for being rare."""
    gold = ["often"] * 60 + ["rare"]
    found = by_name(
        classification_scores(gold, gold, ("often", "rare"), Draws(map(str, range(61)), 1))
    )
    rounds = found["rare", "f1"].rounds
    assert 0.3 < np.isnan(rounds).mean() < 0.45  # (1 - 1/61)^61
    assert found["rare", "f1"].interval == (1.0, 1.0)
    assert found["all", "f1_macro"].interval == (1.0, 1.0)


def test_a_large_test_split_takes_seconds() -> None:
    labels = tuple(str(n) for n in range(22))
    gold = np.random.default_rng(1).choice(labels, 12_146)
    probabilities, said = said_of(gold, labels, 2)
    sure = list(probabilities.max(axis=1))
    started = time.process_time()
    scores = classification_scores(
        list(gold), list(said), labels, Draws(map(str, range(12_146)), 1), sure, probabilities
    )
    assert time.process_time() - started < 6
    low, high = by_name(scores)["all", "accuracy"].interval
    value = by_name(scores)["all", "accuracy"].value
    # The normal approximation of a share.
    reach = 1.96 * (value * (1 - value) / 12_146) ** 0.5
    assert (low, high) == pytest.approx((value - reach, value + reach), abs=0.001)


def test_confusion_shows_only_labels_that_occur() -> None:
    matrix, present = confusion(["a", "a", "b"], ["a", "b", "b"], LABELS)
    assert present == ["a", "b"]
    assert matrix.tolist() == [[0.5, 0.5], [0.0, 1.0]]
