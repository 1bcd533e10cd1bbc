"""Agreement on classes: alpha at the task's level, AC1 or AC2, percent (SPEC D8)."""

from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.agreement.alpha import AT_ONCE, Units, two_coders, units_of
from vertical_assets.labels.agreement.rows import MOST_PAIRS, row
from vertical_assets.labels.votes import Votes, votes_of
from vertical_assets.spec import VerticalSpec


def overall(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Alpha with its interval, AC with its interval, percent."""
    units = _units(votes_of(annotations, spec.labels).counts, spec)
    items, rounds = units.pairable.frequency.sum(), spec.agreement.bootstrap
    every = units.frequency[None].astype(np.float64)
    rng = np.random.default_rng(spec.seed)
    alphas, acs = units.resampled("alphas", rounds, rng), units.resampled("acs", rounds, rng)
    ac, percent = units.acs(every)[0], units.percents(every)[0]
    return [
        row("overall", "all", "alpha", units.alpha(), items, alphas),
        row("overall", "all", _ac(units), ac, items, acs),
        row("overall", "all", "percent", percent, items),
    ]


def details(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Rows by class (it against all others), by pair of annotators, by annotator."""
    votes = votes_of(annotations, spec.labels)
    return [*_classes(votes, spec), *_pairs(votes, spec), *_annotators(votes, spec)]


def _units(counts: np.ndarray, spec: VerticalSpec) -> Units:
    return units_of(counts, _values(spec), spec.task.measured)


def _values(spec: VerticalSpec) -> np.ndarray:
    if spec.task.measured in ("interval", "ratio"):
        return np.array([float(label) for label in spec.labels])
    return np.arange(len(spec.labels), dtype=np.float64)


def _ac(units: Units) -> str:
    return "ac1" if units.level == "nominal" else "ac2"


def _classes(votes: Votes, spec: VerticalSpec) -> list[dict[str, Any]]:
    rows = []
    total = votes.counts.sum(axis=1)
    for code, label in enumerate(spec.labels):
        if votes.counts[:, code].any():
            against = np.stack([votes.counts[:, code], total - votes.counts[:, code]], axis=1)
            units = units_of(against, np.arange(2.0), "nominal")
            items = units.pairable.frequency.sum()
            every = units.frequency[None].astype(np.float64)
            rows.append(row("class", label, "alpha", units.alpha(), items))
            rows.append(row("class", label, "ac1", units.acs(every)[0], items))
    return rows


def _pairs(votes: Votes, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Of every two annotators the confusion matrix, all by one sparse product."""
    labels, people = votes.labels, len(votes.annotators)
    said = (votes.indicator.T @ votes.indicator).tocoo()
    one, first = np.divmod(said.row.astype(np.int64), labels)
    other, second = np.divmod(said.col.astype(np.int64), labels)
    upper = one < other
    keys, pair = np.unique(one[upper] * people + other[upper], return_inverse=True)
    cell = first[upper] * labels + second[upper]
    shared = np.bincount(pair, said.data[upper], minlength=len(keys))
    chosen = np.sort(np.argsort(-shared, kind="stable")[:MOST_PAIRS])
    units = two_coders(_values(spec), spec.task.measured)
    found: list[dict[str, Any]] = []
    block = max(1, AT_ONCE // labels**2)
    for start in range(0, len(chosen), block):
        numbers = chosen[start : start + block]
        place = np.full(len(keys), -1)
        place[numbers] = np.arange(len(numbers))
        mine = place[pair] >= 0
        flat = place[pair[mine]] * labels**2 + cell[mine]
        matrices = np.bincount(flat, said.data[upper][mine], minlength=len(numbers) * labels**2)
        weights = matrices.reshape(len(numbers), labels**2)
        figures = zip(
            keys[numbers].tolist(),
            shared[numbers].tolist(),
            units.alphas(weights),
            units.acs(weights),
            units.percents(weights),
            strict=True,
        )
        for key, items, *values in figures:
            name = f"{votes.annotators[key // people]} | {votes.annotators[key % people]}"
            for statistic, value in zip(("alpha", _ac(units), "percent"), values, strict=True):
                found.append(row("pair", name, statistic, value, items))
    return found


def _annotators(votes: Votes, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Each against all others of the same items, who count one coder together."""
    labels, people = votes.labels, len(votes.annotators)
    others = votes.counts.sum(axis=1) - 1
    share = np.divide(1.0, others, out=np.zeros(len(others)), where=others > 0)
    # Annotators x labels x what others said; one's own vote is among the counts.
    said = np.asarray(votes.indicator.T @ (votes.counts * share[:, None]))
    own = np.asarray(votes.indicator.T @ share)
    said = said.reshape(people, labels, labels)
    said[:, np.arange(labels), np.arange(labels)] -= own.reshape(people, labels)
    weights = np.maximum(said, 0.0).reshape(people, labels**2)
    items = np.rint(weights.sum(axis=1))
    units = two_coders(_values(spec), spec.task.measured)
    figures = zip(
        votes.annotators,
        items,
        *(figure(weights) for figure in (units.alphas, units.percents)),
        strict=True,
    )
    return [
        row("annotator", name, statistic, value, shared)
        for name, shared, *values in figures
        if shared
        for statistic, value in zip(("alpha", "percent"), values, strict=True)
    ]
