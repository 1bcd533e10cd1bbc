"""Predictions as a table: every item, its gold target, what a model said and how surely."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.inference.answers import class_answers, label_answers
from vertical_assets.labels.targets import COLUMN, Target, to_cell
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import PREDICTIONS


def predictions_table(
    items: pa.Table,
    probabilities: np.ndarray,
    labels: Sequence[str],
    kind: TaskKind = "classification",
    model: str | None = None,
) -> pa.Table:
    """PREDICTIONS of LABELED items of a classification or multi_label, from probabilities, items x
    labels; `model` is the name of a baseline.
    """
    answers = (class_answers if kind == "classification" else label_answers)(probabilities, labels)
    return predictions_of(
        items,
        kind,
        [answer.target for answer in answers],
        [answer.confidence for answer in answers],
        probabilities,
        model,
    )


def probabilities_of(table: pa.Table, labels: Sequence[str]) -> np.ndarray | None:
    """Probabilities of PREDICTIONS, items x labels; None where some are missing, or are of another
    number of labels.
    """
    if "probabilities" not in table.column_names or table["probabilities"].null_count:
        return None
    rows = table["probabilities"].combine_chunks()
    if pc.any(pc.not_equal(pc.list_value_length(rows), len(labels))).as_py():
        return None
    return rows.flatten().to_numpy().astype(np.float64).reshape(len(table), len(labels))


def with_embeddings(table: pa.Table, vectors: np.ndarray) -> pa.Table:
    """PREDICTIONS with rows x width of embeddings (`training.embeddings`)."""
    field = PREDICTIONS.field("embedding")
    flat = pa.array(vectors.reshape(-1), pa.float32())
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]).cast(field.type)
    return table.set_column(PREDICTIONS.get_field_index("embedding"), field, column)


def embeddings_in(table: pa.Table) -> np.ndarray | None:
    """Rows x width of the embeddings in PREDICTIONS; None where there are none."""
    if "embedding" not in table.column_names or table["embedding"].null_count or not len(table):
        return None
    return table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def predictions_of(
    items: pa.Table,
    kind: TaskKind,
    predicted: Sequence[Target],
    confidence: Sequence[float | None],
    probabilities: np.ndarray | None = None,
    model: str | None = None,
) -> pa.Table:
    """PREDICTIONS of LABELED items.

    Args:
        items: LABELED, or its columns `item_id`, `split`, the gold target's and, in question
            answering, `question`.
        kind: of the task.
        predicted: a target per item.
        confidence: of each, 0 to 1; None where the model has none, as in regression.
        probabilities: items x labels, where the model has them.
        model: name of a baseline; None for the vertical's own model.
    """
    rows = len(items)
    name = "predicted" if kind == "classification" else f"predicted_{COLUMN[kind]}"
    columns = {
        column: items[column] for column in PREDICTIONS.names if column in items.column_names
    }
    columns["confidence"] = pa.array(confidence, pa.float64())
    if probabilities is not None:
        kept = PREDICTIONS.field("probabilities").type
        columns["probabilities"] = pa.array(list(probabilities.astype(np.float32)), kept)
    if model is not None:
        columns["model"] = pa.array([model] * rows, pa.string())
    cells = [to_cell(each, kind) for each in predicted]
    columns[name] = pa.array(cells, PREDICTIONS.field(name).type)
    return pa.Table.from_arrays(
        [
            columns[field.name] if field.name in columns else pa.nulls(rows, field.type)
            for field in PREDICTIONS
        ],
        schema=PREDICTIONS,
    )
