"""Predictions as a table: every item, its gold target, what a model said and how surely."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vertical_assets.labels.targets import COLUMN, Target, to_cell
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import PREDICTIONS


def predictions_table(
    items: pa.Table, probabilities: np.ndarray, labels: Sequence[str]
) -> pa.Table:
    """PREDICTIONS of LABELED items of a classification, from probabilities, items x labels."""
    return predictions_of(
        items,
        "classification",
        [labels[code] for code in probabilities.argmax(axis=1)],
        probabilities.max(axis=1).astype(np.float64).tolist(),
    )


def predictions_of(
    items: pa.Table,
    kind: TaskKind,
    predicted: Sequence[Target],
    confidence: Sequence[float | None],
) -> pa.Table:
    """PREDICTIONS of LABELED items.

    Args:
        items: LABELED, or its columns `item_id`, `split`, the gold target's and, in question
            answering, `question`.
        kind: of the task.
        predicted: a target per item.
        confidence: of each, 0 to 1; None where the model has none, as in regression.
    """
    rows = len(items)
    name = "predicted" if kind == "classification" else f"predicted_{COLUMN[kind]}"
    columns = {
        column: items[column] for column in PREDICTIONS.names if column in items.column_names
    }
    columns["confidence"] = pa.array(confidence, pa.float64())
    cells = [to_cell(each, kind) for each in predicted]
    columns[name] = pa.array(cells, PREDICTIONS.field(name).type)
    return pa.Table.from_arrays(
        [
            columns[field.name] if field.name in columns else pa.nulls(rows, field.type)
            for field in PREDICTIONS
        ],
        schema=PREDICTIONS,
    )
