"""What several annotators' judgements of an item come to, and how surely (SPEC D8)."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.aggregation.dawid_skene import dawid_skene
from vertical_assets.labels.aggregation.mace import mace
from vertical_assets.labels.decisions import decide
from vertical_assets.labels.targets import COLUMN, Target, targets_of, to_cell
from vertical_assets.labels.votes import Votes, different_rows, latest, votes_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, ANNOTATIONS, LABELED

DEFAULT_TOLERANCE = 0.1  # of the range, or of the spread of all values
TIE = 1e-9  # probabilities closer than this are equal

TARGETS = ("labels", "spans", "value")
AGGREGATED = pa.schema(
    [
        *(ANNOTATIONS.field(name) for name in ("item_id", "question", "label", *TARGETS)),
        *(LABELED.field(name) for name in ("confidence", "n_annotators")),
        ADJUDICATION.field("votes"),
        LABELED.field("method"),
    ]
)


def aggregate(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """One row of AGGREGATED per item, or question, in the order of their first annotations.

    By `task.aggregation` for classes, for the other kinds of task by `decisions`. Of an annotator's
    several judgements of an item the latest counts. The column of the task's kind
    (`targets.COLUMN`) is null where the item is disputed: two targets are as good as each other, or
    the confidence is below `task.min_confidence`. `votes`: what was said -> number of annotators,
    as JSON.

    Args:
        annotations: ANNOTATIONS of one task.
        spec: sections `task`, `seed`.
    """
    return _aggregate(annotations, spec, spec.task.aggregation)


def majority(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """The same by the most votes, whatever `task.aggregation` is: confidence is their share."""
    return _aggregate(annotations, spec, "majority")


def _aggregate(annotations: pa.Table, spec: VerticalSpec, way: str) -> pa.Table:
    once = latest(annotations)
    if spec.task.kind == "classification":
        return _classes(votes_of(once, spec.labels), spec, way)
    return pa.Table.from_pylist(_others(once, spec), AGGREGATED)


def _classes(votes: Votes, spec: VerticalSpec, way: str) -> pa.Table:
    sure, items = _probabilities(votes, spec, way), len(votes.items)
    rows, first = np.arange(items), sure.argmax(axis=1)
    confidence = sure[rows, first]
    split = (sure > confidence[:, None] - TIE).sum(axis=1) > 1
    disputed = split | (confidence < _least(spec))
    label = pa.array(spec.labels).take(pa.array(first, mask=disputed))
    columns = {
        "item_id": votes.items,
        "label": label,
        "confidence": confidence,
        "n_annotators": votes.counts.sum(axis=1),
        "method": pa.repeat(way, items),
        "votes": _votes_as_json(votes, spec),
    }
    return pa.table(
        [columns.get(field.name, pa.nulls(items, field.type)) for field in AGGREGATED], AGGREGATED
    )


def _probabilities(votes: Votes, spec: VerticalSpec, way: str) -> np.ndarray:
    """Items x labels; of a majority, the share of its votes."""
    if not len(votes.items):
        return np.zeros((0, votes.labels))
    if way == "dawid_skene":
        return dawid_skene(votes).posterior
    if way == "mace":
        return mace(votes, spec.seed).posterior
    return votes.counts / votes.counts.sum(axis=1, keepdims=True)


def _least(spec: VerticalSpec) -> float:
    return 0.0 if spec.task.min_confidence is None else spec.task.min_confidence


def _votes_as_json(votes: Votes, spec: VerticalSpec) -> pa.Array:
    """Many items have the same votes: each different row is written once."""
    different, place, _ = different_rows(votes.counts)
    written = [
        json.dumps(
            {label: int(n) for label, n in zip(spec.labels, row, strict=True) if n},
            ensure_ascii=False,
        )
        for row in different
    ]
    return pa.array(written, pa.string()).take(pa.array(place))


def _others(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    kind = spec.task.kind
    said: dict[tuple[str, str | None], list[Target]] = {}
    types: dict[tuple[str, str | None], list[str | None]] = {}
    columns = (annotations[name].to_pylist() for name in ("item_id", "question", "label"))
    for item, question, type_, target in zip(*columns, targets_of(annotations, kind), strict=True):
        said.setdefault((item, question), []).append(target)
        types.setdefault((item, question), []).append(type_)
    numbers = annotations["value"].to_pylist() if kind == "regression" else []
    tolerance = tolerance_of(numbers, spec)
    rows = []
    for (item, question), targets in said.items():
        decision = decide(targets, kind, spec.labels, tolerance)
        target = None if decision.confidence < _least(spec) else decision.target
        rows.append(
            {
                "item_id": item,
                "question": question,
                # The type that most say; the first of those named as often.
                "label": max(types[item, question], key=types[item, question].count),
                COLUMN[kind]: None if target is None else to_cell(target, kind),
                "confidence": decision.confidence,
                "n_annotators": len(targets),
                "method": "median" if kind == "regression" else "majority",
                "votes": json.dumps(decision.votes, ensure_ascii=False),
            }
        )
    return rows


def tolerance_of(values: Sequence[float], spec: VerticalSpec) -> float:
    """How far from the median a number still agrees with it: `task.tolerance`, or a tenth of
    `task.range`, or of the spread of `values`.
    """
    if spec.task.tolerance is not None:
        return spec.task.tolerance
    low, high = spec.task.range or (min(values, default=0.0), max(values, default=0.0))
    return DEFAULT_TOLERANCE * (high - low)
