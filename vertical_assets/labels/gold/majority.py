"""Gold labels: what the annotators' majority says; where there is none, the item waits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.agreement import count_matrix
from vertical_assets.labels.decisions import Decision, decide
from vertical_assets.labels.splits import groups_of, split_of
from vertical_assets.labels.targets import COLUMN, Target, targets_of, to_cell
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, LABELED

DEFAULT_TOLERANCE = 0.1  # of the range, or of the spread of all values


@dataclass(frozen=True)
class Gold:
    """Items with a gold label, and items on which the annotators are split."""

    labeled: pa.Table
    disputed: pa.Table


@dataclass(frozen=True)
class _Judged:
    item: str
    question: str | None
    type: str | None
    decision: Decision
    n_annotators: int


def majority(annotations: pa.Table, documents: pa.Table, spec: VerticalSpec) -> Gold:
    """One target per item: what most annotators said; what they are split on is disputed.

    In question answering an item is a document and a question. What a majority is, by the kind of
    the task: a class by the most votes, a tie for the first place being disputed; for the others
    see `decisions`.

    Args:
        annotations: ANNOTATIONS of one task.
        documents: DEDUP_DOCUMENTS that the items belong to.
        spec: sections `task`, `split`, `seed`.

    Returns:
        Gold: LABELED and ADJUDICATION; together they hold every annotated item once.
    """
    kind = spec.task.kind
    texts = dict(zip(documents["doc_id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    groups = dict(zip(documents["doc_id"].to_pylist(), groups_of(documents, spec), strict=True))
    judged = _classes(annotations, spec) if kind == "classification" else _others(annotations, spec)
    labeled_rows: list[dict[str, Any]] = []
    disputed_rows: list[dict[str, Any]] = []
    for each in judged:
        row = {
            "item_id": each.item,
            "text": texts[each.item],
            "task": spec.task.name,
            "question": each.question,
        }
        target = each.decision.target
        if target is None:
            votes = json.dumps(each.decision.votes, ensure_ascii=False)
            disputed_rows.append({**row, "votes": votes})
            continue
        labeled_rows.append(
            {
                **row,
                "label": each.type,
                COLUMN[kind]: to_cell(target, kind),
                "confidence": each.decision.confidence,
                "n_annotators": each.n_annotators,
                "method": "median" if kind == "regression" else "majority",
                "split": split_of(groups[each.item], spec),
                "cluster_id": groups[each.item],
            }
        )
    return Gold(
        pa.Table.from_pylist(labeled_rows, LABELED),
        pa.Table.from_pylist(disputed_rows, ADJUDICATION),
    )


def items_in(annotations: pa.Table) -> int:
    """Annotated items; of questions, each counts."""
    return annotations.group_by(["item_id", "question"]).aggregate([]).num_rows


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
