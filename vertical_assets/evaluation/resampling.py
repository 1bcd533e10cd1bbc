"""The bootstrap: figures of resampled items, all rounds at once (Efron and Tibshirani 1993, "An
Introduction to the Bootstrap", chapters 6 and 13).

A figure is a function of sums over items, or of the items' weights. Both are reckoned for all
rounds together; the items' own loop is never one of Python.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

ROUNDS = 1000
ENDS = (0.025, 0.975)  # of the percentile interval of 95 %
_BLOCK = 100  # rounds that are in memory together


class Draws:
    """How often every item is drawn: the sample as it is first, then the rounds of a bootstrap.

    Items of one group are drawn together, as many groups as there are (the cluster bootstrap of
    Davison and Hinkley 1997, section 3.8): what belongs together is no independent evidence.

    Args:
        groups: the group of each item.
        seed: of the draws.
        rounds: 0 for the sample alone, which gives values without intervals; so does one group.
    """

    def __init__(self, groups: Iterable[str], seed: int, rounds: int = ROUNDS) -> None:
        _, codes = np.unique(np.array(list(groups), dtype=str), return_inverse=True)
        self.of_item = codes.reshape(-1)
        many = int(self.of_item.max()) + 1 if len(self.of_item) else 0
        rounds = rounds if many > 1 else 0  # one group has nothing to be drawn from
        generator = np.random.default_rng(seed)
        # groups x (1 + rounds)
        self.weights = np.ones((many, 1 + rounds), np.uint32)
        for number in range(1, 1 + rounds):
            drawn = generator.integers(many, size=many)
            self.weights[:, number] = np.bincount(drawn, minlength=many)

    @classmethod
    def none(cls, items: int) -> "Draws":
        """The sample alone."""
        return cls([""] * items, 0, rounds=0)

    def sums(self, statistics: Any) -> np.ndarray:
        """Sums over the drawn items, (1 + rounds) x statistics.

        Args:
            statistics: items x statistics, an array or a sparse one of SciPy.
        """
        from scipy import sparse

        items = len(self.of_item)
        places = (self.of_item, np.arange(items))
        member = sparse.csr_array((np.ones(items), places), (len(self.weights), items))
        by_group = sparse.csr_array((member @ sparse.csr_array(statistics)).T)
        return np.concatenate([(by_group @ block.astype(float)).T for block in self._blocks()])

    def by_weights(self, figure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """A figure that is no function of sums, 1 + rounds.

        Args:
            figure: from weights, items x some rounds, to a value for each of them.
        """
        blocks = (block[self.of_item].astype(float) for block in self._blocks())
        return np.concatenate([figure(block) for block in blocks])

    def _blocks(self) -> list[np.ndarray]:
        return [
            self.weights[:, start : start + _BLOCK]
            for start in range(0, self.weights.shape[1], _BLOCK)
        ]


def interval(rounds: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of a figure (the same, section 13.3); none without rounds.

    Args:
        rounds: the figure of the sample, then of every round. Rounds in which it is undefined,
            e.g. the F1 of a class that was not drawn, are left out.
    """
    known = rounds[1:][np.isfinite(rounds[1:])]
    if not len(known):
        return None, None
    low, high = np.quantile(known, ENDS)
    return float(low), float(high)


def p_value(gains: np.ndarray) -> float:
    """How likely a gain as large as this is where there is none, two-sided: twice the share of the
    rounds on the other side of 0, one round added to both so that it is never 0 (the same, section
    15.4; Davison and Hinkley 1997, equation 4.11). Below 0.05 where the interval leaves 0 out.

    Args:
        gains: the gain in the sample, then in every round, both models on the same items.
    """
    known = gains[1:][np.isfinite(gains[1:])]
    least = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + least) / (1 + len(known)))


def ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """part / whole, and `otherwise` where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole != 0)


def indicators(codes: Sequence[int] | np.ndarray, columns: int) -> Any:
    """Items x columns, sparse, with a 1 in the column of each item's code."""
    from scipy import sparse

    items = len(codes)
    places = (np.arange(items), np.asarray(codes, np.int64))
    return sparse.csr_array((np.ones(items), places), (items, columns))
