"""Aggregation: what several annotators' statements come to; without a majority the item waits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.agreement import count_matrix
from vertical_assets.labels.decisions import Decision, decide
from vertical_assets.labels.targets import COLUMN, Target, targets_of, to_cell
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS

TARGETS = ("labels", "spans", "value")
DEFAULT_TOLERANCE = 0.1  # of the range, or of the spread of all values


AGGREGATED = pa.schema(
    [
        *(ANNOTATIONS.field(name) for name in ("item_id", "question", "label", *TARGETS)),
        pa.field("confidence", pa.float64()),
        pa.field("n_annotators", pa.int64()),
        pa.field("votes", pa.string()),
        pa.field("method", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Judged:
    item: str
    question: str | None
    type: str | None
    decision: Decision
    n_annotators: int


def aggregate(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """What an item's annotators come to, by the way that the task asks for: AGGREGATED, a null
    target where there is no gold.
    """
    return majority(annotations, spec)


def majority(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """What most annotators say of each item; where they are split the target is null.

    In question answering an item is a document and a question. What a majority is, by the kind of
    the task: a class by the most votes, a tie for the first place being disputed; for the others
    see `decisions`.

    Args:
        annotations: ANNOTATIONS of one task, one an annotator and item.
        spec: section `task`.

    Returns:
        pa.Table: AGGREGATED, every annotated item once; votes are JSON, what was said -> number of
        annotators.
    """
    kind = spec.task.kind
    if not annotations.num_rows:
        return AGGREGATED.empty_table()
    judged = _classes(annotations, spec) if kind == "classification" else _others(annotations, spec)
    rows = [
        {
            "item_id": each.item,
            "question": each.question,
            "label": each.type,
            **(
                {}
                if each.decision.target is None
                else {COLUMN[kind]: to_cell(each.decision.target, kind)}
            ),
            "confidence": each.decision.confidence,
            "n_annotators": each.n_annotators,
            "votes": json.dumps(each.decision.votes, ensure_ascii=False),
            "method": "median" if kind == "regression" else "majority",
        }
        for each in judged
    ]
    return pa.Table.from_pylist(rows, AGGREGATED)


def _classes(annotations: pa.Table, spec: VerticalSpec) -> Iterator[_Judged]:
    labels = spec.labels
    counts = count_matrix(annotations, labels)
    items = annotations["item_id"].combine_chunks().dictionary_encode().dictionary.to_pylist()
    best = counts.max(axis=1)
    disputed = (counts == best[:, None]).sum(axis=1) > 1
    first, votes = counts.argmax(axis=1), counts.sum(axis=1)
    for row, item in enumerate(items):
        said = {labels[code]: int(n) for code, n in enumerate(counts[row]) if n}
        target = None if disputed[row] else labels[first[row]]
        decision = Decision(target, float(best[row] / votes[row]), said)
        yield _Judged(item, None, None, decision, int(votes[row]))


def _others(annotations: pa.Table, spec: VerticalSpec) -> Iterator[_Judged]:
    kind = spec.task.kind
    said: dict[tuple[str, str | None], list[Target]] = {}
    types: dict[tuple[str, str | None], list[str | None]] = {}
    columns = (annotations[name].to_pylist() for name in ("item_id", "question", "label"))
    for item, question, type_, target in zip(*columns, targets_of(annotations, kind), strict=True):
        said.setdefault((item, question), []).append(target)
        types.setdefault((item, question), []).append(type_)
    tolerance = _tolerance(annotations, spec)
    for (item, question), targets in said.items():
        # The type that most say; the first of those named as often.
        type_ = max(types[item, question], key=types[item, question].count)
        decision = decide(targets, kind, spec.labels, tolerance)
        yield _Judged(item, question, type_, decision, len(targets))


def _tolerance(annotations: pa.Table, spec: VerticalSpec) -> float:
    if spec.task.kind != "regression":
        return 0.0
    if spec.task.tolerance is not None:
        return spec.task.tolerance
    if spec.task.range is not None:
        low, high = spec.task.range
    else:
        low, high = pc.min_max(annotations["value"]).as_py().values()
    return DEFAULT_TOLERANCE * (high - low)
