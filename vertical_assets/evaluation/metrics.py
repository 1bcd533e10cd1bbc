"""Metrics of a model and of its baselines, as rows of EVALUATION (SPEC E1, E4).

Classification's are here, by scikit-learn; those of other kinds of task in `scores`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.evaluation.names import (
    BASELINES,
    FINETUNED,
    LOWER_IS_BETTER,
    MAIN,
    MAJORITY,
    MEAN,
)
from vertical_assets.evaluation.scores import (
    Score,
    answer_scores,
    multi_label_scores,
    number_scores,
    span_scores,
)
from vertical_assets.labels.targets import Span, Target, targets_of
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import EVALUATION


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
    ours: pa.Table,
    baseline: pa.Table,
    train_labels: Sequence[Any],
    labels: Sequence[str],
    kind: TaskKind = "classification",
    texts: Mapping[str, str] | None = None,
) -> pa.Table:
    """EVALUATION of the model, of the baseline and of what needs no text, by split: the majority
    class, the labels that most items have, or the mean; spans and answers have nothing like it.

    Args:
        ours: PREDICTIONS of the model.
        baseline: PREDICTIONS of the baseline, of the same items.
        train_labels: targets of the training split.
        labels: the class system.
        kind: of the task.
        texts: item_id -> text, for question_answering, whose answers are compared as texts.
    """
    trivial = _trivial(train_labels, labels, kind)
    rows: list[dict[str, Any]] = []
    for split in sorted(set(ours["split"].to_pylist())):
        for model, table in ((FINETUNED, ours), (BASELINES[kind], baseline)):
            chosen = table.filter(pc.equal(table["split"], split))
            rows += _rows_of(model, split, chosen, labels, kind, texts or {})
        if trivial is not None:
            model, target = trivial
            gold = targets_of(chosen, kind)
            rows += _rows(model, split, gold, [target] * len(gold), labels, kind)
    return pa.Table.from_pylist(rows, EVALUATION)


def _trivial(
    train: Sequence[Any], labels: Sequence[str], kind: TaskKind
) -> tuple[str, Target] | None:
    """Name and constant prediction of the model that reads no text."""
    if kind == "classification":
        return MAJORITY, Counter(train).most_common(1)[0][0]
    if kind == "multi_label":
        counts = Counter(label for each in train for label in each)
        return MAJORITY, tuple(label for label in labels if 2 * counts[label] > len(train))
    if kind == "regression":
        return MEAN, float(np.mean(train))
    return None


def _rows_of(
    model: str,
    split: str,
    table: pa.Table,
    labels: Sequence[str],
    kind: TaskKind,
    texts: Mapping[str, str],
) -> list[dict[str, Any]]:
    gold, predicted = targets_of(table, kind), targets_of(table, kind, "predicted_")
    if kind == "question_answering":
        in_text = [texts[item] for item in table["item_id"].to_pylist()]
        answers, said = (_covered(side, in_text) for side in (gold, predicted))
        return _as_rows(model, split, answer_scores(answers, said, table["label"].to_pylist()))
    return _rows(model, split, gold, predicted, labels, kind)


def _covered(targets: Sequence[Sequence[Span]], texts: Sequence[str]) -> list[list[str]]:
    return [
        [text[span.start : span.end] for span in spans]
        for spans, text in zip(targets, texts, strict=True)
    ]


def _rows(
    model: str,
    split: str,
    gold: Sequence[Any],
    predicted: Sequence[Any],
    labels: Sequence[str],
    kind: TaskKind,
) -> list[dict[str, Any]]:
    if kind == "classification":
        return classification_rows(model, split, gold, predicted, labels)
    if kind == "multi_label":
        return _as_rows(model, split, multi_label_scores(gold, predicted, labels))
    if kind == "entities":
        return _as_rows(model, split, span_scores(gold, predicted, labels))
    return _as_rows(model, split, number_scores(gold, predicted))


def _as_rows(model: str, split: str, scores: Sequence[Score]) -> list[dict[str, Any]]:
    return [_row(model, split, *score) for score in scores]


def macro_f1(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    """Macro F1 as in the report."""
    rows = classification_rows("", "", gold, predicted, labels)
    return next(row["value"] for row in rows if row["metric"] == MAIN)


def comparison(
    report: pa.Table, split: str, kind: TaskKind = "classification"
) -> list[dict[str, Any]]:
    """One row per metric, one column per model, and the gain over the baseline (SPEC E4): positive
    where the model is better, none where a metric is undefined for one of the two.
    """
    chosen = [r for r in report.to_pylist() if r["split"] == split and r["label"] == "all"]
    models = list(dict.fromkeys(row["model"] for row in chosen))
    by_metric: dict[str, dict[str, float]] = {}
    for row in chosen:
        by_metric.setdefault(row["metric"], {})[row["model"]] = row["value"]
    return [
        {
            "metric": metric,
            **{model: values.get(model) for model in models},
            "gain": _gain(metric, values.get(FINETUNED), values.get(BASELINES[kind])),
        }
        for metric, values in by_metric.items()
    ]


def _gain(metric: str, ours: float | None, baseline: float | None) -> float | None:
    if ours is None or baseline is None:
        return None
    return baseline - ours if metric in LOWER_IS_BETTER else ours - baseline


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
    """One figure of the report; nan where it is undefined."""
    found = (
        row["value"]
        for row in report.to_pylist()
        if (row["model"], row["split"], row["metric"], row["label"])
        == (model, split, metric, "all")
    )
    return next(found, float("nan"))


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
