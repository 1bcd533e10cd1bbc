"""Krippendorff's alpha and Gwet's AC in closed form, for many weightings of the units at once.

Krippendorff (2011, "Computing Krippendorff's Alpha-Reliability"): with n_uc coders who gave unit u
value c, m_u = sum_c n_uc >= 2, n_c = sum_u n_uc, n = sum_c n_c and the metric d_ck of the level,

    alpha = 1 - (n - 1) sum_u [ sum_ck n_uc n_uk d_ck / (m_u - 1) ] / sum_ck n_c n_k d_ck

| level | d_ck |
|---|---|
| nominal | 1 where c and k differ |
| ordinal | (r_c - r_k)^2 of the mid-ranks r_c = sum_{g < c} n_g + n_c / 2 |
| interval | (c - k)^2 |
| ratio | ((c - k) / (c + k))^2 |

Every sum over units is linear in the units' weights (but for the ranks, which are made anew). So
one function serves a resample (how often each unit was drawn), and a pair of annotators or one
annotator against the rest (how often they said c and k). For the value on all units the library
`krippendorff` is asked; it makes units x values x values numbers, and is left where those are too
many. The tests compare both.

Gwet (2008, "Computing inter-rater reliability and its variance in the presence of high agreement";
2014, "Handbook of Inter-Rater Reliability", ch. 4-6): AC1, and AC2 with the level's weights. They
take for chance agreement what annotators would reach who are in doubt, and so do not fall where
nearly all labels are the same.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from vertical_assets.labels.votes import different_rows, pairs_within
from vertical_assets.spec import Level

AT_ONCE = 5_000_000  # numbers of one block of resamples: 40 MB
LIBRARY_MOST = 20_000_000  # units x values x values that the library may make: 160 MB
GROUPS = 2_000  # of distinct numbers, in the chance term of the ratio level


class Multinomial(Protocol):
    """What draws the resamples: a NumPy generator."""

    def multinomial(self, n: int, pvals: np.ndarray, size: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Units:
    """Units of different patterns: `counts` (patterns x values; dense, or scipy's CSR matrix) of
    coders per value, how many units have each, and the `values` as numbers (nominal and ordinal:
    their order counts alone).
    """

    counts: Any
    frequency: np.ndarray
    values: np.ndarray
    level: Level

    @cached_property
    def sizes(self) -> np.ndarray:
        """Coders of a unit, by pattern."""
        return np.asarray(self.counts.sum(axis=1)).ravel().astype(np.float64)

    @cached_property
    def pairable(self) -> "Units":
        """Those that two or more coders judged."""
        several = self.sizes >= 2
        return Units(self.counts[several], self.frequency[several], self.values, self.level)

    @cached_property
    def within(self) -> np.ndarray:
        """Observed disagreement of a unit, by pattern; not of the ordinal level."""
        sizes, counts = self.sizes, self.counts
        if self.level == "nominal":
            return (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)
        if self.level == "interval":
            # About the unit's own mean: equal numbers leave no rounding error.
            unit, value = counts.nonzero()
            coders = np.asarray(counts[unit, value]).ravel()
            apart = self.values[value] - ((counts @ self.values) / sizes)[unit]
            squares = np.bincount(unit, coders * apart**2, minlength=len(sizes))
            return 2 * sizes * squares / (sizes - 1)
        if isinstance(counts, np.ndarray):
            return ((counts @ self._ratios) * counts).sum(axis=1) / (sizes - 1)
        unit, value = counts.nonzero()
        coders = np.asarray(counts[unit, value]).ravel().astype(np.int64)
        unit, number = np.repeat(unit, coders), self.values[np.repeat(value, coders)]
        left, right = pairs_within(unit)
        apart = 2 * ratio_metric(number[left], number[right])
        return np.bincount(unit[left], apart, minlength=len(sizes)) / (sizes - 1)

    def between(self, totals: np.ndarray) -> np.ndarray:
        """Disagreement by chance, times n - 1, of values given `totals` times (rounds x values);
        not of the ordinal level.
        """
        total = totals.sum(axis=1)
        if self.level == "nominal":
            return total**2 - (totals**2).sum(axis=1)
        if self.level == "interval":
            return _chance(totals, self.values[None])
        groups = np.unique(np.linspace(0, len(self.values), GROUPS + 1).astype(int)[:-1])
        middle = np.add.reduceat(self.values, groups) / np.diff([*groups, len(self.values)])
        grouped = np.add.reduceat(totals, groups, axis=1)
        return ((grouped @ ratio_metric(middle[:, None], middle[None])) * grouped).sum(axis=1)

    def alphas(self, weights: np.ndarray) -> np.ndarray:
        """Alpha for each row of `weights` (rounds x patterns, all pairable): 1 also where only one
        value was ever used, since there was nothing to disagree on.
        """
        totals = (self.counts.T @ weights.T).T.astype(np.float64)
        total = totals.sum(axis=1)
        if self.level == "ordinal":
            # As shares, about 0: alpha knows no unit and no zero point, rounding does.
            ranks = (np.cumsum(totals, axis=1) - totals / 2) / np.maximum(total, 1)[:, None] - 0.5
            observed = np.einsum("rp,pr->r", weights, self._spread(ranks.T))
            chance = _chance(totals, ranks)
        else:
            observed, chance = weights @ self.within, self.between(totals)
        # Equal numbers may leave a rounding error of the mean where nothing should be.
        least = np.abs(self.values).max() * 1e-12 if self.level == "interval" else 0.0
        return 1.0 - np.divide(
            (total - 1) * observed,
            chance,
            out=np.zeros_like(chance),
            where=chance > (total * least) ** 2,
        )

    def acs(self, weights: np.ndarray) -> np.ndarray:
        """Gwet's AC1 (nominal) or AC2, for each row of `weights` (rounds x patterns); nan where no
        unit has two coders. Units of one coder tell how common the values are.
        """
        near = self._nearness
        rated = (self.counts * (self.counts @ near - 1)).sum(axis=1)
        several = self.sizes >= 2
        pairs = np.where(several, self.sizes * (self.sizes - 1), 1.0)
        counted = weights @ several
        observed = np.divide(
            weights @ np.where(several, rated / pairs, 0.0),
            counted,
            out=np.full(len(weights), np.nan),
            where=counted > 0,
        )
        every = np.maximum(weights.sum(axis=1), 1e-300)
        shares = (weights @ (self.counts / self.sizes[:, None])) / every[:, None]
        values = len(self.values)
        chance = near.sum() / (values * (values - 1)) * (shares * (1 - shares)).sum(axis=1)
        return (observed - chance) / (1 - chance)

    def percents(self, weights: np.ndarray) -> np.ndarray:
        """Share of the pairs of labels of one unit that are equal, for each row of `weights`."""
        same = weights @ (self.counts * (self.counts - 1)).sum(axis=1)
        pairs = weights @ (self.sizes * (self.sizes - 1))
        return np.divide(same, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)

    def alpha(self) -> float:
        """Of all units, by the library where it can; nan where no unit has two coders."""
        import krippendorff

        units = self.pairable
        if not len(units.frequency):
            return float("nan")
        used = np.asarray(units.counts.sum(axis=0)).ravel() > 0
        size = int(units.frequency.sum()) * int(used.sum()) ** 2
        if used.sum() < 2 or size > LIBRARY_MOST:
            return float(units.alphas(units.frequency[None].astype(np.float64))[0])
        counts = units.counts[:, used]
        return float(
            krippendorff.alpha(
                value_counts=np.repeat(
                    counts if isinstance(counts, np.ndarray) else counts.toarray(),
                    units.frequency,
                    axis=0,
                ),
                value_domain=self.values[used],
                level_of_measurement=self.level,
            )
        )

    def resampled(
        self, statistic: Literal["alphas", "acs"], rounds: int, rng: Multinomial
    ) -> np.ndarray:
        """Alpha or AC (`alphas`, `acs`) of `rounds` resamples of the units, drawn with replacement;
        those of one pattern are drawn together, so that a round costs as much as there are
        different ones.
        """
        drawn_from = self.pairable if statistic == "alphas" else self
        size = int(drawn_from.frequency.sum())
        if not len(self.pairable.frequency):
            return np.empty(0)
        block = max(1, AT_ONCE // (len(drawn_from.frequency) + len(self.values)))
        found = []
        for start in range(0, rounds, block):
            drawn = rng.multinomial(
                size, drawn_from.frequency / size, size=min(block, rounds - start)
            )
            found.append(getattr(drawn_from, statistic)(drawn.astype(np.float64)))
        return np.concatenate(found)

    @cached_property
    def _ratios(self) -> np.ndarray:
        return ratio_metric(self.values[:, None], self.values[None])

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """sum_ck n_uc n_uk (v_c - v_k)^2 / (m_u - 1) for v = `values` (values, or values x rounds):
        patterns, or patterns x rounds.
        """
        total, squares = self.counts @ values, self.counts @ values**2
        sizes = self.sizes if values.ndim == 1 else self.sizes[:, None]
        return 2 * (sizes * squares - total**2) / (sizes - 1)

    @cached_property
    def _nearness(self) -> np.ndarray:
        """Values x values: Gwet's weights (2014, section 4.3), 1 on the diagonal."""
        count = len(self.values)
        places = np.arange(count, dtype=np.float64)
        apart = np.abs(places[:, None] - places[None])
        if self.level == "nominal":
            return np.eye(count)
        if self.level == "ordinal":
            far = apart * (apart + 1) / 2  # pairs of values among those from c to k
        elif self.level == "interval":
            far = (self.values[:, None] - self.values[None]) ** 2
        else:
            far = self._ratios
        return 1 - far / far.max()


def units_of(counts: np.ndarray, values: np.ndarray, level: Level) -> Units:
    """Units of counts (units x values, dense); equal rows become one pattern, empty ones none."""
    counts = counts[counts.sum(axis=1) > 0]
    patterns, _, frequency = different_rows(counts)
    return Units(patterns.astype(np.float64), frequency, values, level)


def two_coders(values: np.ndarray, level: Level) -> Units:
    """Units of two coders, values x values of them: what a confusion matrix, flat, weighs."""
    one = np.eye(len(values))
    counts = (one[:, None] + one[None]).reshape(-1, len(values))
    return Units(counts, np.ones(len(counts), np.int64), values, level)


def ratio_metric(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """((c - k) / (c + k))^2, 0 where both are 0."""
    total = left + right
    share = np.divide(left - right, total, out=np.zeros(total.shape), where=total != 0)
    return share**2


def _chance(totals: np.ndarray, values: np.ndarray) -> np.ndarray:
    """sum_ck n_c n_k (v_c - v_k)^2 of `totals` (rounds x values), about each round's mean."""
    total = totals.sum(axis=1)
    mean = (totals * values).sum(axis=1) / np.maximum(total, 1)
    return 2 * total * (totals * (values - mean[:, None]) ** 2).sum(axis=1)
