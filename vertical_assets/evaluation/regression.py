"""Scores of predicted numbers (SPEC E1)."""

from collections.abc import Iterable

import numpy as np

from vertical_assets.evaluation.resampling import Draws, ratio
from vertical_assets.evaluation.scores import Score


def number_scores(
    gold: Iterable[float], predicted: Iterable[float], draws: Draws | None = None
) -> list[Score]:
    """Mean absolute error, root of the mean squared error, R2, Pearson's r and Spearman's rho.
    Where one side is constant the last three (R2 for gold alone) are undefined and left out.
    """
    true, said = np.array(list(gold), float), np.array(list(predicted), float)
    draws = draws or Draws.none(len(true))
    # Distances from one point, so that squares of large numbers don't drown their differences.
    x, y = true - true.mean(), said - true.mean()
    error = said - true
    columns = [np.ones(len(x)), np.abs(error), error**2, x, y, x * x, y * y, x * y]
    n, size, squares, sx, sy, sxx, syy, sxy = draws.sums(np.stack(columns, axis=1)).T
    of_gold, of_said, both = sxx - sx**2 / n, syy - sy**2 / n, sxy - sx * sy / n
    # What is left of a constant's squares is rounding.
    varies, follows = of_gold > 1e-12 * sxx, of_said > 1e-12 * syy
    either = np.where(varies & follows, np.sqrt(np.abs(of_gold * of_said)), 0.0)
    ranks = draws.by_weights(lambda weights: spearman(true, said, weights))
    scores = {
        "mae": size / n,
        "rmse": np.sqrt(squares / n),
        "r2": 1 - ratio(squares, np.where(varies, of_gold, 0.0), np.nan),
        "pearson": ratio(both, either, np.nan),
        "spearman": ranks,
    }
    found = [Score("all", name, rounds, len(true)) for name, rounds in scores.items()]
    return [score for score in found if np.isfinite(score.value)]


def spearman(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho, ties with their mean rank, for every column of weights (how often each item
    stands in a sample); NaN where one side is constant.

    Args:
        first, second: a value per item.
        weights: items x rounds.
    """
    ranks = [_ranks(side, weights) for side in (first, second)]
    total = weights.sum(axis=0)
    a, b = (each - (each * weights).sum(axis=0) / total for each in ranks)
    both, of_a, of_b = ((weights * each).sum(axis=0) for each in (a * b, a * a, b * b))
    return ratio(both, np.sqrt(of_a * of_b), np.nan)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rank of each item's value, items x rounds."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    held = np.add.reduceat(weights[order], starts, axis=0)
    return (held.cumsum(axis=0) - held / 2)[place]
