"""Scores of a classification: from the confusion counts, the confidence and the probabilities of
every round of the bootstrap (SPEC E1).
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from vertical_assets.evaluation.resampling import Draws, indicators, ratio
from vertical_assets.evaluation.scores import Score

BINS = 15  # of the calibration error, as in Guo et al. 2017


def classification_scores(
    gold: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    draws: Draws | None = None,
    confidence: Sequence[float | None] | None = None,
    probabilities: np.ndarray | None = None,
) -> list[Score]:
    """Accuracy; precision, recall and F1: macro, weighted by the label's items, micro, and by
    label; calibration error; of two labels, the areas under the ROC and the precision-recall curve.

    Macro and weighted averages are over the labels that occur in gold or predictions: one without
    any item has no F1. Where every item has one label, micro precision, recall and F1 are the
    accuracy. A ratio without a denominator is 0, as scikit-learn's with `zero_division=0`.

    Args:
        gold, predicted: a label per item.
        labels: the class system; other labels that occur come behind it.
        draws: resampled items; None for values without intervals.
        confidence: probability of what is predicted; none known where any is None.
        probabilities: items x `labels`; NaN where none are known.
    """
    draws = draws or Draws.none(len(gold))
    others = sorted((set(gold) | set(predicted)) - set(labels))
    every = [*labels, *others]
    code = {label: number for number, label in enumerate(every)}
    true = np.array([code[label] for label in gold], np.int64)
    said = np.array([code[label] for label in predicted], np.int64)
    size, width = len(gold), len(every)
    cells = draws.sums(indicators(true * width + said, width * width))
    matrix = cells.reshape(-1, width, width)
    right = np.diagonal(matrix, axis1=1, axis2=2)
    wanted, given = matrix.sum(axis=2), matrix.sum(axis=1)
    accuracy = ratio(right.sum(axis=1), wanted.sum(axis=1), np.nan)
    occurs = wanted + given > 0
    by_label = {
        "precision": ratio(right, given),
        "recall": ratio(right, wanted),
        "f1": ratio(2 * right, wanted + given, np.nan),  # undefined where it does not occur
    }
    scores = [Score("all", "accuracy", accuracy, size)]
    for average, weights in (("macro", occurs), ("weighted", wanted)):
        for name, values in by_label.items():
            weighed = np.where(occurs, values, 0.0) * weights
            mean = ratio(weighed.sum(axis=1), weights.sum(axis=1), np.nan)
            scores.append(Score("all", f"{name}_{average}", mean, size))
    scores.append(Score("all", "f1_micro", accuracy, size))
    if confidence is not None and None not in confidence:
        sure = np.array(confidence, float)
        scores.append(Score("all", "ece", calibration_error(sure, true == said, draws), size))
    if probabilities is not None and len(labels) == 2 and not np.isnan(probabilities).any():
        scores += _two_labels(true, probabilities, labels, draws)
    support = np.bincount(true, minlength=width)
    for number, label in enumerate(every):
        if occurs[0, number]:
            for name, values in by_label.items():
                defined = np.where(occurs[:, number], values[:, number], np.nan)
                scores.append(Score(label, name, defined, int(support[number])))
    return [score for score in scores if np.isfinite(score.value)]


def _two_labels(
    true: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], draws: Draws
) -> list[Score]:
    size = len(true)
    # Of two labels either one gives the same area under the ROC curve.
    area = draws.by_weights(lambda weights: roc_auc(true == 1, probabilities[:, 1], weights))
    return [
        Score("all", "roc_auc", area, size),
        *(
            Score(
                label,
                "average_precision",
                draws.by_weights(partial(average_precision, true == code, probabilities[:, code])),
                int((true == code).sum()),
            )
            for code, label in enumerate(labels)
        ),
    ]


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence: BINS of equal width, the lower end in it."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def calibration_error(confidence: np.ndarray, right: np.ndarray, draws: Draws) -> np.ndarray:
    """Expected calibration error, 1 + rounds: the mean distance between confidence and accuracy of
    a bin, weighted by its items (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Args:
        confidence: probability of what is predicted, per item.
        right: whether it was right.
        draws: resampled items.
    """
    in_bin = indicators(bins_of(confidence), BINS)
    sums = draws.sums(in_bin.multiply((confidence - right)[:, None]))
    total = draws.sums(np.ones((len(confidence), 1)))[:, 0]
    return ratio(np.abs(sums).sum(axis=1), total, np.nan)


def _at_scores(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, positives, negatives): weights of the items at each score, highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    held, yes = weights[order], positive[order][:, None]
    hits, misses = (np.add.reduceat(held * side, starts, axis=0) for side in (yes, ~yes))
    return ordered[starts], hits, misses


def roc_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for every column of weights: the share of pairs of a positive and a
    negative item of which the positive one has the higher score, ties half (Hanley and McNeil
    1982); NaN where one side is empty.

    Args:
        positive: which items are, items.
        scores: items.
        weights: items x rounds.
    """
    _, hits, misses = _at_scores(positive, scores, weights)
    below = misses.sum(axis=0) - misses.cumsum(axis=0)
    pairs = hits.sum(axis=0) * misses.sum(axis=0)
    return ratio((hits * (below + misses / 2)).sum(axis=0), pairs, np.nan)


def average_precision(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve as the mean precision over the positive items, for
    every column of weights, as scikit-learn's; NaN where nothing is positive. Arguments as in
    `roc_auc`.
    """
    _, hits, misses = _at_scores(positive, scores, weights)
    precision = ratio(hits.cumsum(axis=0), (hits + misses).cumsum(axis=0))
    return ratio((hits * precision).sum(axis=0), hits.sum(axis=0), np.nan)


def confusion(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """(labels x labels, labels): shares of each gold label's items by predicted label; only labels
    that occur.
    """
    from sklearn.metrics import confusion_matrix

    present = [label for label in labels if label in set(gold) | set(predicted)]
    return confusion_matrix(gold, predicted, labels=present, normalize="true"), present


def reliability(
    confidence: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean confidence, accuracy, items) of the bins that are not empty (Guo et al. 2017, figure
    1).
    """
    bins = bins_of(confidence)
    items = np.bincount(bins, minlength=BINS)
    kept = items > 0
    sums = (np.bincount(bins, each, BINS)[kept] for each in (confidence, right.astype(float)))
    mean, accuracy = (each / items[kept] for each in sums)
    return mean, accuracy, items[kept]
