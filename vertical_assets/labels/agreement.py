"""Agreement between annotators: Krippendorff's alpha with its interval, by class and pair (D8)."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from vertical_assets.labels.agreement_by_sums import rows_by_sums
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import AGREEMENT


class Multinomial(Protocol):
    """What draws the resamples: a NumPy generator."""

    def multinomial(self, n: int, pvals: np.ndarray, size: int) -> np.ndarray: ...


def count_matrix(annotations: pa.Table, labels: Sequence[str]) -> np.ndarray:
    """Items x labels: how many annotators gave each label; items in the order of their ids."""
    items = annotations["item_id"].combine_chunks().dictionary_encode()
    codes = _codes(annotations["label"], labels)
    counts = np.zeros((len(items.dictionary), len(labels)), np.int64)
    np.add.at(counts, (items.indices.to_numpy(), codes), 1)
    return counts


def alpha(counts: np.ndarray) -> float:
    """Krippendorff's alpha, nominal level (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability").

    Returns:
        float: at most 1; 1 also where nobody ever used more than one label and alpha is
        undefined, because there was nothing to disagree on; nan where no item has two labels.
    """
    import krippendorff

    pairable = counts[counts.sum(axis=1) >= 2]
    used = pairable.sum(axis=0) > 0
    if not len(pairable):
        return float("nan")
    if used.sum() < 2:
        return 1.0
    return float(krippendorff.alpha(value_counts=pairable[:, used], level_of_measurement="nominal"))


def bootstrap_alpha(counts: np.ndarray, rounds: int, rng: Multinomial) -> np.ndarray:
    """Alpha of `rounds` resamples of the items, drawn with replacement.

    Nominal alpha is a function of sums over items: of the labels' counts n_c, and of the observed
    agreement sum_c n_uc (n_uc - 1) / (m_u - 1). Items with equal counts are drawn together, so
    that a round costs as much as there are distinct patterns, not items.
    """
    pairable = counts[counts.sum(axis=1) >= 2]
    patterns, frequency = np.unique(pairable, axis=0, return_counts=True)
    values = patterns.sum(axis=1)
    agreed = (patterns * (patterns - 1)).sum(axis=1) / (values - 1)
    drawn = rng.multinomial(frequency.sum(), frequency / frequency.sum(), size=rounds)
    per_label = drawn @ patterns
    total = per_label.sum(axis=1)
    disagreement = total - drawn @ agreed
    expected = (total**2 - (per_label**2).sum(axis=1)) / (total - 1)
    return 1.0 - np.divide(
        disagreement, expected, out=np.zeros(rounds, np.float64), where=expected > 0
    )


def percent_agreement(counts: np.ndarray) -> float:
    """Share of the pairs of labels of one item that are equal."""
    values = counts.sum(axis=1)
    pairs = (values * (values - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else float("nan")


def agreement_report(
    annotations: pa.Table,
    labels: Sequence[str],
    rounds: int,
    seed: int,
    kind: TaskKind = "classification",
) -> pa.Table:
    """AGREEMENT: alpha and percent agreement, over all, for each class against the rest, and for
    each pair of annotators that share an item; for other kinds of task see `agreement_by_sums`.
    """
    if kind != "classification":
        return pa.Table.from_pylist(
            rows_by_sums(annotations, labels, kind, rounds, seed), AGREEMENT
        )
    counts = count_matrix(annotations, labels)
    resampled = bootstrap_alpha(counts, rounds, np.random.default_rng(seed))
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (None, None)
    rows = [
        _row("overall", "all", "alpha", alpha(counts), counts, low, high),
        _row("overall", "all", "percent", percent_agreement(counts), counts),
    ]
    total = counts.sum(axis=1)
    for code, label in enumerate(labels):
        if counts[:, code].any():
            against = np.stack([counts[:, code], total - counts[:, code]], axis=1)
            rows.append(_row("class", label, "alpha", alpha(against), against))
    matrix, annotators = label_matrix(annotations, labels)
    for a, b in combinations(range(len(annotators)), 2):
        both = (matrix[:, a] >= 0) & (matrix[:, b] >= 0)
        if both.any():
            pair = np.zeros((both.sum(), len(labels)), np.int64)
            for annotator in (a, b):
                np.add.at(pair, (np.arange(len(pair)), matrix[both, annotator]), 1)
            name = f"{annotators[a]} | {annotators[b]}"
            rows.append(_row("pair", name, "alpha", alpha(pair), pair))
            rows.append(_row("pair", name, "percent", percent_agreement(pair), pair))
    return pa.Table.from_pylist(rows, AGREEMENT)


def label_matrix(annotations: pa.Table, labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """(items x annotators, annotators): codes of labels, -1 where nothing was said."""
    items = annotations["item_id"].combine_chunks().dictionary_encode()
    people = annotations["annotator_id"].combine_chunks().dictionary_encode()
    matrix = np.full((len(items.dictionary), len(people.dictionary)), -1, np.int64)
    matrix[items.indices.to_numpy(), people.indices.to_numpy()] = _codes(
        annotations["label"], labels
    )
    return matrix, people.dictionary.to_pylist()


def pair_heat_map(report: pa.Table) -> tuple[np.ndarray, list[str]]:
    """(annotators x annotators, their names): alpha of every pair, for a picture."""
    pairs = {
        tuple(row["name"].split(" | ")): row["value"]
        for row in report.to_pylist()
        if row["scope"] == "pair" and row["statistic"] == "alpha"
    }
    names = sorted({name for pair in pairs for name in pair})
    values = np.eye(len(names))
    for (a, b), value in pairs.items():
        i, j = names.index(a), names.index(b)
        values[i, j] = values[j, i] = value
    return values, names


def _codes(column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.index_in(column, pa.array(labels)).to_numpy(zero_copy_only=False)


def _row(
    scope: str,
    name: str,
    statistic: str,
    value: float,
    counts: np.ndarray,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    return {
        "scope": scope,
        "name": name,
        "statistic": statistic,
        "value": None if np.isnan(value) else value,
        "low": low,
        "high": high,
        "items": int((counts.sum(axis=1) >= 2).sum()),
    }
