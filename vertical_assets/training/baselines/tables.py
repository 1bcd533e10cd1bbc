"""What every baseline says about the held-out items, as one table (SPEC E4)."""

import pyarrow as pa

from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.baselines.baseline import (
    baseline_predictions,
    baseline_probabilities,
)
from vertical_assets.training.baselines.boosting import KINDS, tfidf_xgboost
from vertical_assets.training.baselines.names import BASELINES, XGBOOST
from vertical_assets.training.predictions import predictions_of, predictions_table


def baselines_table(train_set: Items, held: pa.Table, spec: VerticalSpec) -> pa.Table:
    """PREDICTIONS of the baselines, one after the other, told apart by `model`.

    Args:
        train_set: what they learn from.
        held: LABELED items to be predicted.
        spec: `evaluate.xgboost`, sections `task`, `language`, `seed`.
    """
    kind, first = spec.task.kind, BASELINES[spec.task.kind]
    texts = held["text"].to_pylist()
    if kind in ("classification", "multi_label"):
        found = baseline_probabilities(train_set, texts, spec)
        tables = [predictions_table(held, found, spec.labels, kind, first)]
    else:
        questions = held["question"].to_pylist()
        said, confidence = baseline_predictions(train_set, texts, questions, spec)
        tables = [predictions_of(held, kind, said, confidence, model=first)]
    if spec.evaluate.xgboost is not None and kind in KINDS:
        found = tfidf_xgboost(train_set, texts, spec)
        if kind == "regression":
            numbers = [float(value) for value in found]
            unknown = [None] * len(numbers)
            tables.append(predictions_of(held, kind, numbers, unknown, model=XGBOOST))
        else:
            tables.append(predictions_table(held, found, spec.labels, kind, XGBOOST))
    return pa.concat_tables(tables)
