"""Wrong predictions: which they are, and the training item that is most like each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.evaluation.errors.slices import UNKNOWN
from vertical_assets.evaluation.pages import shown_target
from vertical_assets.labels.aggregation import tolerance_of
from vertical_assets.labels.targets import targets_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ERRORS


def wrong_rows(predictions: pa.Table, texts: Sequence[str], spec: VerticalSpec) -> np.ndarray:
    """Which rows of PREDICTIONS are wrong.

    An answer with the words of a gold one is right wherever it stands; a number is wrong beyond
    `task.tolerance`, by default a tenth of the range, or of the spread of the gold values.

    Args:
        predictions: PREDICTIONS.
        texts: of every row.
        spec: section `task`.
    """
    kind = spec.task.kind
    gold, said = (targets_of(predictions, kind, prefix) for prefix in ("", "predicted_"))
    if kind == "regression":
        far = np.abs(np.array(gold, float) - np.array(said, float))
        return far > tolerance_of(gold, spec)
    different = [true != given for true, given in zip(gold, said, strict=True)]
    if kind == "question_answering":
        for row, (true, given, text) in enumerate(zip(gold, said, texts, strict=True)):
            words = {text[each.start : each.end] for each in true}
            if given and text[given[0].start : given[0].end] in words:
                different[row] = False
    return np.array(different, bool)


def sizes_of(predictions: pa.Table, spec: VerticalSpec) -> np.ndarray:
    """What errors are ordered by: how sure the model was; of numbers, how far off."""
    if spec.task.kind == "regression":
        gold, said = (targets_of(predictions, "regression", p) for p in ("", "predicted_"))
        return np.abs(np.array(gold, float) - np.array(said, float))
    return np.array([share or 0.0 for share in predictions["confidence"].to_pylist()], float)


def errors_table(
    predictions: pa.Table,
    texts: Sequence[str],
    sources: Mapping[str, str],
    nearest: Sequence[Mapping[str, Any]],
    spec: VerticalSpec,
) -> pa.Table:
    """ERRORS by split, the surest first.

    Args:
        predictions: PREDICTIONS, the wrong ones.
        texts: of every row.
        sources: item_id -> source of its document.
        nearest: of every row `nearest_id`, `nearest_text`, `nearest_label`, `similarity`; nothing
            where there is no training item.
        spec: section `task`.
    """
    kind = spec.task.kind
    gold, said = (targets_of(predictions, kind, prefix) for prefix in ("", "predicted_"))
    sizes = sizes_of(predictions, spec)
    rows = [
        {
            "item_id": row["item_id"],
            "split": row["split"],
            "source": sources.get(row["item_id"], UNKNOWN),
            "text": text,
            "question": row["question"],
            "label": shown_target(true, text),
            "predicted": shown_target(given, text),
            "confidence": row["confidence"],
            "size": float(size),
            **like,
        }
        for row, text, true, given, size, like in zip(
            predictions.to_pylist(), texts, gold, said, sizes, nearest, strict=True
        )
    ]
    rows.sort(key=lambda row: (row["split"], -row["size"], row["item_id"]))
    return pa.Table.from_pylist(rows, ERRORS)
