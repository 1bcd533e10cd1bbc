"""What the evaluation page shows of a model's predictions, by kind of task: pictures, errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vertical_assets.evaluation.metrics import confusion
from vertical_assets.evaluation.names import FINETUNED
from vertical_assets.labels.targets import Span, targets_of
from vertical_assets.plots import bars, heat_map, scatter
from vertical_assets.spec import TaskKind

Picture = tuple[str, bytes]  # title, PNG


def pictures_of(
    tested: pa.Table, report: pa.Table, split: str, labels: Sequence[str], kind: TaskKind
) -> dict[str, Picture]:
    """Pictures by name.

    Args:
        tested: PREDICTIONS of one split.
        report: EVALUATION.
        split: of `tested`.
        labels: the class system.
        kind: of the task.
    """
    gold, predicted = targets_of(tested, kind), targets_of(tested, kind, "predicted_")
    if kind == "classification":
        matrix, present = confusion(gold, predicted, labels)
        png = heat_map(matrix, present, "predicted", "gold")
        return {"confusion_matrix": ("confusion matrix", png)}
    if kind == "regression":
        return {"scatter": ("gold and predicted", scatter(gold, predicted, "gold", "predicted"))}
    by_label = {
        row["label"]: row["value"]
        for row in report.to_pylist()
        if (row["model"], row["split"], row["metric"]) == (FINETUNED, split, "f1")
        and row["label"] != "all"
    }
    return {"by_label": ("F1 by label", bars({"F1": by_label}, "F1"))} if by_label else {}


def worst_errors(
    tested: pa.Table, texts: Mapping[str, str], kind: TaskKind, most: int
) -> list[dict[str, Any]]:
    """Wrong predictions with their texts: the surest first; of numbers, the farthest off.

    Args:
        tested: PREDICTIONS of one split.
        texts: item_id -> text.
        kind: of the task.
        most: how many at most.
    """
    gold, predicted = targets_of(tested, kind), targets_of(tested, kind, "predicted_")
    found = []
    for row, true, said in zip(tested.to_pylist(), gold, predicted, strict=True):
        if true == said:
            continue
        text = texts[row["item_id"]]
        size = abs(true - said) if kind == "regression" else (row["confidence"] or 0.0)
        shown = {
            "text": text,
            **({"question": row["question"]} if row["question"] else {}),
            "item_id": row["item_id"],
            "gold": shown_target(true, text),
            "predicted": shown_target(said, text),
            "confidence": row["confidence"],
        }
        if kind == "question_answering" and shown["predicted"] in shown["gold"].split("; "):
            continue  # the same words at another place
        found.append((size, shown))
    return [shown for _, shown in sorted(found, key=lambda each: -each[0])[:most]]


def shown_target(target: Any, text: str) -> str:
    """A target in words; spans as the text they cover."""
    if isinstance(target, tuple):
        words = [
            f"{text[each.start : each.end]} ({each.label})" if isinstance(each, Span) else each
            for each in target
        ]
        return "; ".join(words) or "nothing"
    return f"{target:g}" if isinstance(target, float) else str(target)
