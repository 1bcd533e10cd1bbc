"""Classification metrics, by scikit-learn, as rows of EVALUATION (SPEC E1, E4)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.store.contracts import EVALUATION

FINETUNED, BASELINE, MAJORITY = "finetuned", "tfidf_logistic_regression", "majority"
MAIN = "f1_macro"


def classification_rows(
    model: str, split: str, gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Accuracy, macro and weighted precision, recall and F1, and F1 by class.

    Averages are over the labels that occur in gold or predictions: one without any item has no F1.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    present = [label for label in labels if label in set(gold) | set(predicted)]
    rows = [_row(model, split, "all", "accuracy", accuracy_score(gold, predicted), len(gold))]
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            gold, predicted, labels=present, average=average, zero_division=0.0
        )
        for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            rows.append(_row(model, split, "all", f"{name}_{average}", value, len(gold)))
    _, _, by_class, support = precision_recall_fscore_support(
        gold, predicted, labels=present, average=None, zero_division=0.0
    )
    for label, value, items in zip(present, by_class, support, strict=True):
        rows.append(_row(model, split, label, "f1", value, items))
    return rows


def report_of(
    ours: pa.Table, baseline: pa.Table, train_labels: Sequence[str], labels: Sequence[str]
) -> pa.Table:
    """EVALUATION of the model, of the baseline and of the majority class, by split.

    Args:
        ours: PREDICTIONS of the model.
        baseline: PREDICTIONS of the baseline, of the same items.
        train_labels: labels of the training split; the most frequent is the majority class.
        labels: the class system.
    """
    majority = Counter(train_labels).most_common(1)[0][0]
    rows: list[dict[str, Any]] = []
    for split in sorted(set(ours["split"].to_pylist())):
        for model, table in ((FINETUNED, ours), (BASELINE, baseline)):
            chosen = table.filter(pc.equal(table["split"], split))
            gold, predicted = chosen["label"].to_pylist(), chosen["predicted"].to_pylist()
            rows += classification_rows(model, split, gold, predicted, labels)
        rows += classification_rows(MAJORITY, split, gold, [majority] * len(gold), labels)
    return pa.Table.from_pylist(rows, EVALUATION)


def macro_f1(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    """Macro F1 as in the report."""
    rows = classification_rows("", "", gold, predicted, labels)
    return next(row["value"] for row in rows if row["metric"] == MAIN)


def comparison(report: pa.Table, split: str) -> list[dict[str, Any]]:
    """One row per metric, one column per model, and the gain over the baseline (SPEC E4)."""
    chosen = [r for r in report.to_pylist() if r["split"] == split and r["label"] == "all"]
    by_metric: dict[str, dict[str, float]] = {}
    for row in chosen:
        by_metric.setdefault(row["metric"], {})[row["model"]] = row["value"]
    return [
        {"metric": metric, **values, "gain": values[FINETUNED] - values[BASELINE]}
        for metric, values in by_metric.items()
    ]


def confusion(
    gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """(labels x labels, labels): shares of each gold label's items by predicted label; only labels
    that occur.
    """
    from sklearn.metrics import confusion_matrix

    present = [label for label in labels if label in set(gold) | set(predicted)]
    return confusion_matrix(gold, predicted, labels=present, normalize="true"), present


def value_of(report: pa.Table, model: str, split: str, metric: str) -> float:
    """One figure of the report."""
    return next(
        row["value"]
        for row in report.to_pylist()
        if (row["model"], row["split"], row["metric"], row["label"])
        == (model, split, metric, "all")
    )


def _row(
    model: str, split: str, label: str, metric: str, value: float, support: int
) -> dict[str, Any]:
    return {
        "model": model,
        "split": split,
        "label": label,
        "metric": metric,
        "value": float(value),
        "support": int(support),
    }
