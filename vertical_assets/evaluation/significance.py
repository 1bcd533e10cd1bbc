"""Gains of one model over others on the same items, and whether they could be chance (SPEC E4)."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vertical_assets.evaluation.names import FINETUNED, LOWER_IS_BETTER
from vertical_assets.evaluation.resampling import p_value
from vertical_assets.evaluation.scores import Score

GAIN, CHANCE, MCNEMAR = "_gain", "_gain_p", "mcnemar_p"  # names of metrics, or their ends


class Gain(NamedTuple):
    """A model's gain over another one.

    Attributes:
        value: the difference of the metric, positive where the model is better; NaN where the
            metric is undefined for one of the two.
        low, high: its 95 % interval by the paired bootstrap.
        p: of the paired bootstrap, two-sided.
        mcnemar_p: of McNemar's exact test; None where the task is no classification.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    mcnemar_p: float | None

    @property
    def words(self) -> str:
        """The gain with its interval and p."""
        if math.isnan(self.value):
            return "gain undefined"
        ends = "" if self.low is None else f" (95 % interval {self.low:+.4f}..{self.high:+.4f}"
        chance = "" if self.p is None else f", p = {self.p:.3g}"
        return f"gain {self.value:+.4f}{ends}{chance}{')' if ends else ''}"


def gain_rows(
    ours: Iterable[Score], theirs: Iterable[Score], split: str, against: str, main: str
) -> list[dict[str, Any]]:
    """Rows of EVALUATION: the gain in every metric that both have of `all`, and the p-value of the
    main one's.

    Both models' rounds are of the same draws: the paired bootstrap (Koehn 2004, "Statistical
    Significance Tests for Machine Translation Evaluation").

    Args:
        ours, theirs: scores of the fine-tuned and of another model.
        split: of the items.
        against: name of the other model.
        main: the metric that models are compared by.
    """
    others = {score.metric: score for score in theirs if score.label == "all"}
    found: list[Score] = []
    for score in ours:
        if score.label != "all" or score.metric not in others:
            continue
        sign = -1 if score.metric in LOWER_IS_BETTER else 1
        gains = sign * (score.rounds - others[score.metric].rounds)
        found.append(Score("all", score.metric + GAIN, gains, score.support))
        if score.metric == main and len(gains) > 1:
            chance = np.array([p_value(gains)])
            found.append(Score("all", score.metric + CHANCE, chance, score.support))
    return [{**each.row(FINETUNED, split), "against": against} for each in found]


def mcnemar_row(
    gold: Sequence[str], ours: Sequence[str], theirs: Sequence[str], split: str, against: str
) -> dict[str, Any]:
    """The row of EVALUATION with McNemar's p; its support is the number of items that decide."""
    p, differ = mcnemar(gold, ours, theirs)
    score = Score("all", MCNEMAR, np.array([p]), differ)
    return {**score.row(FINETUNED, split), "against": against}


def mcnemar(gold: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, int]:
    """(p, items that exactly one of two models has right): McNemar's exact test, two-sided, that
    both are right equally often (McNemar 1947; exact: binomial with 1/2). It takes items for
    independent.
    """
    from scipy.stats import binomtest

    right, other = (
        np.array([a == b for a, b in zip(gold, said, strict=True)], bool) for said in (ours, theirs)
    )
    only, differ = int((right & ~other).sum()), int((right != other).sum())
    return (float(binomtest(only, differ).pvalue) if differ else 1.0), differ


def gain_over(report: pa.Table, against: str, split: str, metric: str) -> Gain:
    """What a report says of the model's gain over another one.

    Args:
        report: EVALUATION.
        against: name of the other model.
        split: of the items.
        metric: whose gain.
    """
    found = {
        row["metric"]: row
        for row in report.to_pylist()
        if (row["against"], row["split"]) == (against, split)
    }
    gain = found.get(metric + GAIN, {"value": math.nan, "low": None, "high": None})
    chances = (found.get(name) for name in (metric + CHANCE, MCNEMAR))
    p, exact = (None if row is None else row["value"] for row in chances)
    return Gain(gain["value"], gain["low"], gain["high"], p, exact)
