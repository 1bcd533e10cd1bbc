"""Training of the cascade's first stage, and what its threshold buys (SPEC M8)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertical_assets.inference.answers import softmax
from vertical_assets.inference.cascade import FirstStage
from vertical_assets.labels.gold.lexical import fit_tfidf_classifier
from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.modules.data import codes_of

NEVER = -1e4  # bias of a label that training never saw
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)


def fit_first_stage(train_set: Items, validation_set: Items, spec: VerticalSpec) -> FirstStage:
    """Logistic regression on TF-IDF (the baseline of E4), its confidence calibrated by one
    temperature that is best for the validation set's likelihood (Guo et al. 2017).

    Args:
        train_set: what it learns from.
        validation_set: what it is calibrated on.
        spec: `model.cascade`, `task`, `language`.
    """
    if spec.model.cascade is None:
        raise ValueError("this vertical has no model.cascade")
    vectorizer, model = fit_tfidf_classifier(train_set.texts, train_set.labels, spec)
    coefficients, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:  # one logit for the second class
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        bias = np.concatenate([np.zeros_like(bias), bias])
    weights = np.zeros((coefficients.shape[1], len(spec.labels)), np.float32)
    all_bias = np.full(len(spec.labels), NEVER, np.float32)
    columns = [spec.labels.index(label) for label in model.classes_]
    weights[:, columns], all_bias[columns] = coefficients.T, bias
    raw = FirstStage(
        labels=spec.labels,
        by_character=vectorizer.analyzer == "char",
        ngrams=tuple(vectorizer.ngram_range),
        terms=tuple(str(term) for term in vectorizer.get_feature_names_out()),
        idf=vectorizer.idf_.astype(np.float32),
        weights=weights,
        bias=all_bias,
        temperature=1.0,
        threshold=spec.model.cascade.threshold,
    )
    gold = codes_of(validation_set.labels, spec.labels)
    best = best_temperature(raw.logits(validation_set.texts), gold)
    return replace(raw, temperature=best)


def best_temperature(logits: np.ndarray, gold: np.ndarray) -> float:
    """The divisor of logits with the least negative log-likelihood of `gold`, 0.05 to 20."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        shares = softmax(logits / np.exp(log_temperature))
        return float(-np.log(shares[np.arange(len(gold)), gold] + 1e-12).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def coverage_curve(
    first: np.ndarray, network: np.ndarray, gold: np.ndarray, threshold: float
) -> list[dict[str, float | None]]:
    """What each threshold would give: share of the items that the first stage answers, its
    accuracy on these, and the accuracy of both stages together.

    Args:
        first: probabilities of the first stage, items x labels.
        network: probabilities of the network.
        gold: numbers of the right labels.
        threshold: the configured one, shown among the others.
    """
    confidence, right = first.max(1), first.argmax(1) == gold
    right_network = network.argmax(1) == gold
    rows: list[dict[str, float | None]] = []
    for least in sorted({*THRESHOLDS, threshold}):
        sure = confidence >= least
        rows.append(
            {
                "threshold": least,
                "coverage": float(sure.mean()),
                "first_stage_accuracy": float(right[sure].mean()) if sure.any() else None,
                "accuracy": float(np.where(sure, right, right_network).mean()),
            }
        )
    return rows


def coverage_lines(
    curve: Sequence[Mapping[str, float | None]],
) -> dict[str, tuple[list[float], list[float]]]:
    """Lines for a picture of `coverage_curve`: name -> (coverage, accuracy)."""
    lines = {}
    for name, column in (("first stage", "first_stage_accuracy"), ("together", "accuracy")):
        points = [(row["coverage"], row[column]) for row in curve]
        known = sorted({(x, y) for x, y in points if x is not None and y is not None})
        lines[name] = ([x for x, _ in known], [y for _, y in known])
    return lines


def add_cascade(
    checkpoint: Path, train_set: Items, validation_set: Items, spec: VerticalSpec
) -> list[dict[str, float | None]]:
    """Trains the first stage, puts it beside the network in a checkpoint's directory, and gives
    what its threshold would buy on the validation set. The temperature was chosen on the same
    items: one number, so the figures are hardly the better for it.
    """
    from vertical_assets.training.answering import label_probabilities

    stage = fit_first_stage(train_set, validation_set, spec)
    texts = validation_set.texts
    network = label_probabilities(checkpoint, texts, spec, with_cascade=False)
    stage.save(checkpoint)
    gold = codes_of(validation_set.labels, spec.labels)
    return coverage_curve(stage.probabilities(texts), network, gold, stage.threshold)
