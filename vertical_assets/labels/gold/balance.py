"""Balance: how often each label, type of span, type of question or range of values occurs."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.splits import TEST, TRAIN, VALIDATION
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import VerticalSpec

VALUE_BINS = 5

Counts = dict[str, dict[str, int]]


def balance(labeled: pa.Table, spec: VerticalSpec) -> Counts:
    """split -> name -> count: items of a class, items that have a label, spans of a type, questions
    of a type, items in a fifth of the range of values.

    Args:
        labeled: LABELED.
        spec: section `task`.
    """
    kind, rows = spec.task.kind, labeled.to_pylist()
    names: tuple[str, ...] = spec.labels
    if kind == "question_answering":
        names = tuple(spec.task.question_types) or ("answered", "unanswered")
    edges = np.empty(0)
    if kind == "regression":
        values = [row["value"] for row in rows] or [0.0]
        low, high = spec.task.range or (min(values), max(values))
        edges = np.linspace(low, high, VALUE_BINS + 1)
        names = tuple(f"{a:g} to {b:g}" for a, b in pairwise(edges))
    counts = {split: dict.fromkeys(names, 0) for split in (TRAIN, VALIDATION, TEST)}
    for row in rows:
        for name in _names(row, spec, names, edges):
            counts[row["split"]][name] += 1
    return counts


def _names(
    row: Mapping[str, Any], spec: VerticalSpec, names: tuple[str, ...], edges: np.ndarray
) -> Iterator[str]:
    kind = spec.task.kind
    if kind == "regression":
        yield names[int(np.searchsorted(edges[1:-1], row["value"], side="right"))]
    elif kind == "question_answering":
        yield row["label"] or ("answered" if row["spans"] else "unanswered")
    elif kind == "entities":
        yield from (span["label"] for span in row["spans"])
    elif kind == "multi_label":
        yield from row["labels"]
    else:
        yield row[COLUMN[kind]]


def rare(counts: Counts, spec: VerticalSpec, fewest: int) -> list[str]:
    """What is in fewer than `fewest` training items, or in no test item; values and the
    share of questions without an answer need no balance.
    """
    if not (spec.task.labels or spec.task.question_types):
        return []
    return [
        name for name in counts[TRAIN] if counts[TRAIN][name] < fewest or not counts[TEST][name]
    ]


def class_weights(counts: Counts) -> list[dict[str, Any]]:
    """What each class of the training split weighs: inversely proportional to its frequency (SPEC
    E1), n / (classes x n of the class); a class without items has no weight.
    """
    train = counts[TRAIN]
    total, present = sum(train.values()), sum(count > 0 for count in train.values())
    return [
        {
            "class": name,
            "training items": count,
            "share": count / total if total else None,
            "weight": total / (present * count) if count else None,
        }
        for name, count in train.items()
    ]
