"""Targets: what a gold label is, by the kind of its task (SPEC D6).

| task.kind | target of an item |
|---|---|
| classification | its label |
| multi_label | its labels, in the standard's order; may be none |
| entities | its spans, by place |
| question_answering | the spans that answer its question, by place; none where nothing does |
| regression | its value |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import pyarrow as pa

from vertical_assets.spec import TaskKind


@dataclass(frozen=True, order=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text, and what they are."""

    start: int
    end: int
    label: str


Target = str | float | tuple[str, ...] | tuple[Span, ...]

# Column that holds the targets of a kind, in ANNOTATIONS, LABELED and PREDICTIONS.
COLUMN: dict[TaskKind, str] = {
    "classification": "label",
    "multi_label": "labels",
    "entities": "spans",
    "question_answering": "spans",
    "regression": "value",
}
SPAN_KINDS = ("entities", "question_answering")


def kind_of(table: pa.Table) -> TaskKind:
    """The task's kind, from which columns of a LABELED, ANNOTATIONS or PREDICTIONS table are
    filled.
    """

    def filled(name: str) -> bool:
        return name in table.column_names and bool(len(table[name]) > table[name].null_count)

    if filled("question"):
        return "question_answering"
    others: tuple[TaskKind, ...] = ("entities", "multi_label", "regression")
    return next((kind for kind in others if filled(COLUMN[kind])), "classification")


def targets_of(table: pa.Table, kind: TaskKind, prefix: str = "") -> list[Any]:
    """The target of every row.

    Args:
        table: ANNOTATIONS, LABELED or PREDICTIONS.
        kind: of its task.
        prefix: `predicted_` for what a model said in PREDICTIONS.
    """
    name = COLUMN[kind]
    if kind == "classification" and prefix:
        name, prefix = prefix.rstrip("_"), ""
    return [from_cell(cell, kind) for cell in table[prefix + name].to_pylist()]


def from_cell(cell: Any, kind: TaskKind) -> Target:
    """A target from the value of its column."""
    if kind == "multi_label":
        return tuple(cell)
    if kind in SPAN_KINDS:
        return tuple(Span(**span) for span in cell)
    return cast("str | float", cell)


def to_cell(target: Target, kind: TaskKind) -> Any:
    """What stands in a target's column; spans by place."""
    if kind == "multi_label":
        return list(cast("tuple[str, ...]", target))
    if kind in SPAN_KINDS:
        return [as_row(span) for span in sorted(cast("tuple[Span, ...]", target))]
    return target


def as_row(span: Span) -> Mapping[str, Any]:
    return {"start": span.start, "end": span.end, "label": span.label}


def overlapping(spans: Sequence[Span]) -> tuple[Span, Span] | None:
    """The first two of some spans, by place, that share a character."""
    ordered = sorted(spans)
    for left, right in pairwise(ordered):
        if right.start < left.end:
            return left, right
    return None
