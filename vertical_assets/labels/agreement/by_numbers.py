"""Agreement on numbers: alpha at the ordinal, interval or ratio level (SPEC D8)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.agreement.alpha import Units
from vertical_assets.labels.agreement.rows import MOST_PAIRS, row
from vertical_assets.labels.votes import pairs_within
from vertical_assets.spec import Level, VerticalSpec


def overall(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Alpha with its interval."""
    items, _ = _codes(annotations, "item_id")
    units = units_of_numbers(items, annotations["value"].to_numpy(), spec.task.measured)
    rng = np.random.default_rng(spec.seed)
    drawn = units.resampled("alphas", spec.agreement.bootstrap, rng)
    return [row("overall", "all", "alpha", units.alpha(), units.pairable.frequency.sum(), drawn)]


def details(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Rows by pair of annotators, and by annotator against all others of the same items, who count
    one coder together.
    """
    items, _ = _codes(annotations, "item_id")
    annotator, names = _codes(annotations, "annotator_id")
    values, level = annotations["value"].to_numpy(), spec.task.measured
    left, right = pairs_within(items)
    swap = annotator[left] > annotator[right]
    left, right = np.where(swap, right, left), np.where(swap, left, right)
    share = 1.0 / (np.bincount(items)[items[left]] - 1)
    rows = []
    pair = annotator[left] * len(names) + annotator[right]
    by_pair = sorted(_grouped(pair), key=lambda group: -len(group[1]))[:MOST_PAIRS]
    for key, places in sorted(by_pair, key=lambda group: group[0]):
        one, other = names[key // len(names)], names[key % len(names)]
        alpha = _of_pairs(values[left[places]], values[right[places]], level)
        rows.append(row("pair", f"{one} | {other}", "alpha", alpha, len(places)))
    both = np.concatenate([annotator[left], annotator[right]])
    for code, places in _grouped(both):
        pairs = places % len(left)
        weights = share[pairs]
        alpha = _of_pairs(values[left[pairs]], values[right[pairs]], level, weights)
        rows.append(row("annotator", names[code], "alpha", alpha, np.rint(weights.sum())))
    return rows


def units_of_numbers(unit: np.ndarray, numbers: np.ndarray, level: Level) -> Units:
    """Units whose values are all the different numbers; `unit` are their codes, from 0."""
    from scipy.sparse import csr_matrix

    values, code = np.unique(numbers, return_inverse=True)
    shape = (int(unit.max(initial=-1)) + 1, len(values))
    counts = csr_matrix((np.ones(len(unit)), (unit, code)), shape)
    return Units(counts, np.ones(shape[0], np.int64), values, level)


def _of_pairs(
    left: np.ndarray, right: np.ndarray, level: Level, weights: np.ndarray | None = None
) -> float:
    pair = np.arange(len(left))
    units = units_of_numbers(np.tile(pair, 2), np.concatenate([left, right]), level)
    every = np.ones(len(left)) if weights is None else weights
    return float(units.alphas(every[None])[0])


def _codes(annotations: pa.Table, name: str) -> tuple[np.ndarray, list[str]]:
    column = annotations[name].combine_chunks().dictionary_encode()
    return column.indices.to_numpy().astype(np.int64), column.dictionary.to_pylist()


def _grouped(keys: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each key with its places."""
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    if len(found):
        yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)
