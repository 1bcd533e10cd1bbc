"""Rows of AGREEMENT."""

from typing import Any

import numpy as np

MOST_PAIRS = 20_000  # of annotators in one report: those that share most items


def row(
    scope: str, name: str, statistic: str, value: float, items: int, resampled: Any = ()
) -> dict[str, Any]:
    """One figure; `resampled` are its values in resamples of the items, for the 95 % interval."""
    drawn = np.asarray(resampled, np.float64)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist() if len(drawn) else (None, None)
    return {
        "scope": scope,
        "name": name,
        "statistic": statistic,
        "value": None if np.isnan(value) else float(value),
        "low": low,
        "high": high,
        "items": int(items),
    }
