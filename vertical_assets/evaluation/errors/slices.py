"""Slices: how good the model is on parts of the held-out items, and the gate on the worst part.

Every metric here is a ratio of two sums over items, so that one slice is as easy as another:

| kind | metric | above | below |
|---|---|---|---|
| classification | accuracy; of a class its recall | right answers | items |
| multi_label, entities | micro F1 | 2 x right labels or spans | gold + predicted ones |
| question_answering | F1 | token F1 of the answer | questions |
| regression | mean absolute error | distances | items |
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.corpus.review.spot_check import wilson_interval
from vertical_assets.evaluation.scores import answer_match
from vertical_assets.labels.splits import TEST
from vertical_assets.labels.targets import Span, targets_of
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import SLICES
from vertical_assets.store.gates import Gate

ALL = "all"
WORST = "worst_slice"  # the gate
UNKNOWN = "(not in the corpus)"  # source of an item whose document is gone
METRICS: dict[TaskKind, str] = {
    "classification": "accuracy",
    "multi_label": "f1_micro",
    "entities": "f1_micro",
    "question_answering": "f1",
    "regression": "mae",
}
ROUNDS = 1000  # of the bootstrap
DRAWS_AT_ONCE = 2_000_000  # 16 MB
FEWEST_GROUPS = 5  # of fewer an interval says too little


class _Slice(NamedTuple):
    dimension: str
    name: str
    above: np.ndarray
    below: np.ndarray
    members: np.ndarray  # of all rows, which count


def slices_of(
    predictions: pa.Table,
    texts: Mapping[str, str],
    sources: Mapping[str, str],
    groups: Mapping[str, str],
    terms: Terms,
    spec: VerticalSpec,
) -> pa.Table:
    """SLICES by length, source, class (or value), presence of domain terms and type of question.

    Args:
        predictions: PREDICTIONS, of one or several splits.
        texts: item_id -> text.
        sources: item_id -> source of its document.
        groups: item_id -> what it belongs to (`cluster_id`): items of one group are no independent
            evidence.
        terms: of the domain; without any there are no slices by them.
        spec: sections `evaluate.slices`, `task`, `seed`.
    """
    metric = METRICS[spec.task.kind]
    splits = np.array(predictions["split"].to_pylist(), object)
    group = np.unique([groups[i] for i in predictions["item_id"].to_pylist()], return_inverse=True)[
        1
    ]
    rows: list[dict[str, Any]] = []
    parts = list(_parts(predictions, texts, sources, terms, spec))
    for split in sorted(set(splits)):
        overall = 0.0
        for part in parts:
            chosen = part.members & (splits == split)
            if not chosen.any():
                continue
            above, below = part.above[chosen], part.below[chosen]
            value = float(_ratio(above.sum(), below.sum()))
            overall = value if part.dimension == ALL else overall
            member = np.unique(group[chosen], return_inverse=True)[1]
            many = int(member.max()) + 1
            if metric == "accuracy" and many == len(above):
                low, high = wilson_interval(int(above.sum()), len(above))
            else:
                name = f"{split}\0{part.dimension}\0{part.name}".encode()
                tops, bottoms = (np.bincount(member, each) for each in (above, below))
                seed = [spec.seed, xxhash.xxh3_64_intdigest(name)]
                low, high = ratio_interval(tops, bottoms, seed)
            better = low if metric == "mae" else high
            rows.append(
                {
                    "split": split,
                    "dimension": part.dimension,
                    "slice": part.name,
                    "items": len(above),
                    "groups": many,
                    "metric": metric,
                    "value": value,
                    "low": low,
                    "high": high,
                    "overall": overall,
                    "drop": _drop(value, overall, metric),
                    "least_drop": _drop(better, overall, metric),
                }
            )
    return pa.Table.from_pylist(rows, SLICES)


def gates_of(slices: pa.Table, spec: VerticalSpec) -> list[Gate]:
    """The gate `worst_slice`: on the test split no slice of `evaluate.slices.min_items` items or
    more is worse than all items by more than `evaluate.slices.max_drop`, even at the better end of
    its 95 % interval, so that no model is refused by chance. Of a slice with fewer than
    FEWEST_GROUPS groups nothing is known of chance.

    Args:
        slices: SLICES.
        spec: section `evaluate.slices`.
    """
    settings = spec.evaluate.slices
    tested = [row for row in slices.to_pylist() if row["split"] == TEST]
    if not any(row["dimension"] == ALL for row in tested):
        why = "no slices of the test split are stored; materialize them anew"
        return [Gate(WORST, False, True, None, settings.max_drop, why)]
    judged = [row for row in tested if row["dimension"] != ALL and _is_judged(row, spec)]
    if not judged:
        why = f"no slice has {settings.min_items} items in {FEWEST_GROUPS} groups: none was judged"
        return [Gate(WORST, True, True, None, settings.max_drop, why)]
    worst = max(judged, key=lambda row: row["least_drop"])
    # An undefined drop is above every bar.
    passed = all(row["least_drop"] <= settings.max_drop for row in judged)
    why = (
        f"{len(judged)} slices of {settings.min_items} items and {FEWEST_GROUPS} groups or more; "
        f"worst is {worst['dimension']} {worst['slice']} ({worst['items']} items in "
        f"{worst['groups']} groups): {worst['metric']} {worst['value']:.3f}, 95 % interval "
        f"{worst['low']:.3f}..{worst['high']:.3f}, against {worst['overall']:.3f} of all; surely "
        f"worse by {max(worst['least_drop'], 0.0):.3f}, at "
        f"most {settings.max_drop} is allowed"
    )
    if not passed:
        why += "; label more items like these, or raise evaluate.slices.max_drop"
    return [Gate(WORST, passed, True, float(worst["least_drop"]), settings.max_drop, why)]


def _is_judged(row: Mapping[str, Any], spec: VerticalSpec) -> bool:
    return row["items"] >= spec.evaluate.slices.min_items and row["groups"] >= FEWEST_GROUPS


def ratio_interval(
    above: np.ndarray, below: np.ndarray, seed: Sequence[int]
) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles; Efron and Tibshirani 1993) of sum(above) / sum(below).

    Args:
        above, below: sums of each group; whole groups are drawn with replacement (the cluster
            bootstrap; Davison and Hinkley 1997, section 3.8).
        seed: of the draws.
    """
    size = len(above)
    rng, found = np.random.default_rng(seed), list[np.ndarray]()
    at_once = max(1, DRAWS_AT_ONCE // size)
    for start in range(0, ROUNDS, at_once):
        drawn = rng.integers(size, size=(min(at_once, ROUNDS - start), size))
        found.append(_ratio(above[drawn].sum(axis=1), below[drawn].sum(axis=1)))
    low, high = np.percentile(np.concatenate(found), (2.5, 97.5))
    return float(low), float(high)


def quantile_bins(
    values: Sequence[float], bins: int, unit: str = ""
) -> tuple[np.ndarray, list[str]]:
    """(number of each value's bin, names of the bins): bins as equally full as equal values allow,
    named by their least and greatest value.
    """
    given = np.asarray(values, float)
    edges = np.unique(np.quantile(given, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    codes = np.unique(np.searchsorted(edges, given, side="left"), return_inverse=True)[1]
    names = []
    for code in range(codes.max() + 1):
        inside = given[codes == code]
        ends = dict.fromkeys(f"{end:g}" for end in (inside.min(), inside.max()))
        names.append(" to ".join(ends) + unit)
    return codes, names


def _parts(
    predictions: pa.Table,
    texts: Mapping[str, str],
    sources: Mapping[str, str],
    terms: Terms,
    spec: VerticalSpec,
) -> Iterator[_Slice]:
    kind, bins = spec.task.kind, spec.evaluate.slices.length_bins
    items = predictions["item_id"].to_pylist()
    if not items:
        return
    read = [texts[item] for item in items]
    gold, said = (targets_of(predictions, kind, prefix) for prefix in ("", "predicted_"))
    above, below = _sums(gold, said, kind, read)

    def grouped(dimension: str, codes: np.ndarray, names: Sequence[str]) -> Iterator[_Slice]:
        for code, name in enumerate(names):
            yield _Slice(dimension, name, above, below, codes == code)

    yield _Slice(ALL, ALL, above, below, np.ones(len(items), bool))
    yield from grouped("length", *quantile_bins([*map(len, read)], bins, " characters"))
    origin = [sources.get(item, UNKNOWN) for item in items]
    yield from grouped("source", *_codes(origin, sorted(set(origin))))
    if kind == "classification":
        yield from grouped("class", *_codes(gold, spec.labels))
    elif kind == "regression":
        yield from grouped("value", *quantile_bins(gold, bins))
    elif kind in ("multi_label", "entities"):
        for label in spec.labels:
            counted = _sums(_only(gold, label), _only(said, label), kind, read)
            yield _Slice("class", label, *counted, counted[1] > 0)
    if terms:
        having = np.array([bool(terms.occurrences(text)) for text in read])
        yield from grouped("terms", having.astype(int), ("no domain term", "domain terms"))
    types = predictions["label"].to_pylist()
    if kind == "question_answering" and any(types):
        yield from grouped("question_type", *_codes(types, sorted(filter(None, set(types)))))


def _codes(values: Sequence[Any], names: Sequence[str]) -> tuple[np.ndarray, Sequence[str]]:
    index = {name: code for code, name in enumerate(names)}
    return np.array([index.get(value, -1) for value in values]), names


def _only(targets: Sequence[Any], label: str) -> list[tuple[Any, ...]]:
    """Of each target the part that is about one label or type."""
    return [
        tuple(e for e in each if (e.label if isinstance(e, Span) else e) == label)
        for each in targets
    ]


def _sums(
    gold: Sequence[Any], said: Sequence[Any], kind: TaskKind, texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """What is above and below the line of the metric, by item."""
    pairs, ones = list(zip(gold, said, strict=True)), np.ones(len(gold))
    if kind == "classification":
        return np.array([float(true == given) for true, given in pairs]), ones
    if kind == "regression":
        return np.array([abs(true - given) for true, given in pairs]), ones
    if kind == "question_answering":
        read = zip(pairs, texts, strict=True)
        return np.array([_answer_f1(true, given, text) for (true, given), text in read]), ones
    return (
        np.array([2.0 * len(set(true) & set(given)) for true, given in pairs]),
        np.array([float(len(set(true)) + len(set(given))) for true, given in pairs]),
    )


def _answer_f1(gold: Sequence[Span], said: Sequence[Span], text: str) -> float:
    """As in the report: the best over the gold answers; of several predicted ones the first."""
    given = text[said[0].start : said[0].end] if said else ""
    return answer_match([text[each.start : each.end] for each in gold], given)[1]


def _ratio(above: Any, below: Any) -> Any:
    """above / below; 1 where there was nothing to find and nothing was said."""
    return np.where(np.asarray(below) > 0, above / np.maximum(below, 1e-12), 1.0)


def _drop(value: float, overall: float, metric: str) -> float:
    if metric == "mae":
        return (value - overall) / overall if overall else 0.0
    return overall - value


def worst_of(slices: pa.Table, split: str, spec: VerticalSpec, most: int) -> list[dict[str, Any]]:
    """Rows of the worst slices of one split that the gate judges: the surest drop first."""
    chosen = slices.filter(pc.equal(slices["split"], split)).to_pylist()
    rows = [row for row in chosen if row["dimension"] != ALL and _is_judged(row, spec)]
    return sorted(rows, key=lambda row: -row["least_drop"])[:most]
