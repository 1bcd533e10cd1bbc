"""Generalisation: attributes are widened until at least k people share each combination (SPEC X1).

Top-down over the hierarchies of the YAML: all start as `*`; step by step a group says more of one
attribute, the one that wins back most information, as long as nobody ends in a group of fewer
than k. So one rare value costs its own neighbours only (multidimensional recoding: LeFevre et
al., "Mondrian Multidimensional K-Anonymity", 2006; top-down: Fung et al., "Top-Down Specialization
for Information and Privacy Preservation", 2005).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.spec.corpus import Attributes

SUPPRESSED = "*"

Steps = Sequence[float] | Mapping[str, str]


@dataclass(frozen=True)
class Generalised:
    """The quasi-identifiers of each person as they may be said, and `people`, the class's size."""

    rows: pa.Table
    information_loss: float
    unplaced: dict[str, int]


def generalise(people: pa.Table, attributes: Attributes) -> Generalised:
    """Widens the quasi-identifiers until at least k people share each combination.

    What becomes of a row doesn't depend on the order of the rows. A missing value is a value. A
    value that its hierarchy doesn't know, e.g. a word among numbers, is said exactly or not at
    all. Of fewer than k people in all nothing is said.

    Args:
        people: a row for each person, with a column of strings for each quasi-identifier.
        attributes: k and the hierarchies.
    """
    names = attributes.quasi_identifiers
    trees = [_Tree.of(people[name], attributes.hierarchies.get(name, ())) for name in names]
    first, row = distinct([people[name] for name in names])
    codes = np.stack([tree.codes[first] for tree in trees], axis=1)
    weights = np.bincount(row, minlength=len(first))
    depths = _specialise(codes, weights, trees, attributes.k)
    values, lost = [], 0.0
    for a, tree in enumerate(trees):
        nodes = tree.nodes[codes[:, a], depths[:, a]]
        values.append(pa.array(tree.labels, pa.string()).take(pa.array(nodes)))
        lost += float(weights @ tree.losses[codes[:, a], depths[:, a]])
    _, classes = distinct(values)
    sizes = np.bincount(classes, weights)[classes].astype(np.int64)
    return Generalised(
        pa.table([*values, pa.array(sizes)], names=[*names, "people"]).take(pa.array(row)),
        lost / max(1, people.num_rows) / len(names),
        {
            name: int(tree.unplaced[tree.codes].sum())
            for name, tree in zip(names, trees, strict=True)
            if tree.unplaced.any()
        },
    )


def _specialise(
    codes: NDArray[np.int64], weights: NDArray[np.int64], trees: Sequence["_Tree"], k: int
) -> NDArray[np.int64]:
    """How deep in its tree each value of each distinct row may be said; all groups step at once.

    In a step, the children of a group's node that hold k people leave it as groups of their own.
    The others stay behind together, with the smallest of the leavers where they are too few.
    """
    depths = np.zeros_like(codes)
    group = np.zeros(len(codes), np.int64)
    while len(codes):
        groups = int(group.max()) + 1
        best = np.full(groups, -1.0)
        leaves = np.zeros(len(codes), bool)
        chosen = np.zeros(groups, np.int64)
        for a, tree in enumerate(trees):
            last = tree.nodes.shape[1] - 1
            deeper = np.minimum(depths[:, a] + 1, last)
            kids, kid = np.unique(
                group * len(tree.labels) + tree.nodes[codes[:, a], deeper], return_inverse=True
            )
            sizes = np.bincount(kid, weights)
            owner = kids // len(tree.labels)
            enough = sizes >= k
            behind = np.bincount(owner, np.where(enough, 0, sizes), groups)
            ranked = np.lexsort((sizes, owner))
            ranked = ranked[enough[ranked]]
            smallest = ranked[np.unique(owner[ranked], return_index=True)[1]]
            short = (behind[owner[smallest]] > 0) & (behind[owner[smallest]] < k)
            enough[smallest[short]] = False
            moves = enough[kid] & (depths[:, a] < last)
            losses = tree.losses[codes[:, a]]
            rows = np.arange(len(codes))
            won = weights * moves * (losses[rows, depths[:, a]] - losses[rows, deeper])
            gain = np.where(np.bincount(group, moves, groups) > 0, 0.0, -1.0)
            gain += np.bincount(group, won, groups)
            better = gain > best
            best[better], chosen[better] = gain[better], a
            leaves = np.where(better[group], moves, leaves)
        if best.max() < 0.0:
            break
        step = leaves & (best[group] >= 0.0)
        attribute = chosen[group]
        depths[step, attribute[step]] += 1
        widest = max(len(tree.labels) for tree in trees) + 1
        node = np.zeros(len(codes), np.int64)
        for a, tree in enumerate(trees):
            mine = step & (attribute == a)
            node[mine] = tree.nodes[codes[mine, a], depths[mine, a]] + 1
        group = np.unique(group * widest + node, return_inverse=True)[1]
    return depths


@dataclass(frozen=True)
class _Tree:
    """An attribute's hierarchy over the values that occur: each value's way from `*` to itself."""

    codes: NDArray[np.int64]  # row -> value
    nodes: NDArray[np.int64]  # value, depth -> label
    losses: NDArray[np.float64]  # value, depth -> NCP of being said that widely
    labels: list[str | None]
    unplaced: NDArray[np.bool_]  # value -> whether the hierarchy doesn't know it

    @classmethod
    def of(cls, column: pa.ChunkedArray, steps: Steps) -> "_Tree":
        """Losses are the normalised certainty penalty (Xu et al., "Utility-Based Anonymization
        Using Local Recoding", 2006): a range's share of the whole range, or the share of the
        values that a wider word covers; 0 for an exact value, 1 for `*`.
        """
        values = sorted(column.unique().to_pylist(), key=lambda value: (value is not None, value))
        codes = pc.index_in(column, pa.array(values, pa.string())).to_numpy().astype(np.int64)
        ways = [_way(value, steps) for value in values]
        depth = max((len(way) for way in ways), default=1)
        padded = [way + way[-1:] * (depth - len(way)) for way in ways]
        labels = list(dict.fromkeys(label for way in padded for label in way))
        number = {label: i for i, label in enumerate(labels)}
        nodes = np.array([[number[label] for label in way] for way in padded], np.int64)
        nodes = nodes.reshape(len(values), depth)
        losses = np.zeros(nodes.shape)
        if isinstance(steps, Mapping):
            known: set[str | None] = {*steps, *steps.values()}
            for d in range(depth):
                covered = np.bincount(nodes[:, d], minlength=len(labels))[nodes[:, d]]
                losses[:, d] = np.where(covered > 1, covered / max(1, len(values)), 0.0)
        else:
            numbers = {value: x for value in values if (x := number_of(value)) is not None}
            known = set(numbers)
            span = max(numbers.values(), default=0.0) - min(numbers.values(), default=0.0)
            placed = np.array([value in known for value in values], bool)
            for d, width in enumerate(reversed(steps if numbers else ()), 1):
                losses[placed, d] = min(1.0, width / span) if span else 1.0
        losses[nodes == number.get(SUPPRESSED, -1)] = 1.0
        known |= {None, SUPPRESSED}
        unplaced = np.array([bool(steps) and value not in known for value in values], bool)
        return cls(codes, nodes, losses, labels, unplaced)


def _way(value: str | None, steps: Steps) -> list[str | None]:
    """A value's generalisations, widest first, the value itself last."""
    if value is None:
        return [SUPPRESSED, None]
    if isinstance(steps, Mapping):
        way = [value]
        while way[-1] in steps:
            way.append(steps[way[-1]])
    elif steps and (x := number_of(value)) is not None:
        way = [f"{x:.12g}"]
        narrowest = math.floor(x / steps[0] + 1e-9)
        for width in steps:
            low = narrowest // round(width / steps[0]) * width
            way.append(f"[{low:.12g}, {low + width:.12g})")
    else:
        way = [value]
    return [SUPPRESSED, *(label for label in reversed(way) if label != SUPPRESSED)]


def number_of(value: str | None) -> float | None:
    """The finite number that a value is, if it is one."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def distinct(columns: Sequence[pa.ChunkedArray]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that stand for the distinct combinations, in order of their values, and each row's."""
    rows = len(columns[0])
    codes = np.zeros(rows, np.int64)
    for column in columns:
        ranks = pc.rank(column, tiebreaker="dense").to_numpy()
        joint = codes * (rows + 1) + ranks.astype(np.int64)
        _, first, codes = np.unique(joint, return_index=True, return_inverse=True)
    return first, codes
