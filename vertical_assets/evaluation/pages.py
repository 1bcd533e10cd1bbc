"""What the evaluation page shows of a report and of a model's predictions: the comparison with the
baselines, pictures, errors.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.evaluation.classification import confusion, reliability
from vertical_assets.evaluation.names import FINETUNED, MAIN_METRIC
from vertical_assets.evaluation.significance import GAIN, gain_over
from vertical_assets.labels.targets import Span, targets_of
from vertical_assets.plots import bars, curves, heat_map, reliability_diagram, scatter
from vertical_assets.spec import TaskKind
from vertical_assets.training.predictions import probabilities_of

Picture = tuple[str, bytes]  # title, PNG


def comparison(report: pa.Table, split: str, kind: TaskKind) -> list[dict[str, str]]:
    """One row per metric: every model's figure and the gain over each other model, with 95 %
    intervals; below them how likely the main metric's gain is chance (SPEC E4).

    Args:
        report: EVALUATION.
        split: of the items.
        kind: of the task.
    """
    rows = [r for r in report.to_pylist() if (r["split"], r["label"]) == (split, "all")]
    figures = {(r["metric"], r["model"]): r for r in rows if r["against"] is None}
    gains = {(r["metric"], r["against"]): r for r in rows if r["against"] is not None}
    models = list(dict.fromkeys(model for _, model in figures))
    others = [model for model in models if model != FINETUNED]
    table = [
        {
            "metric": metric,
            **{model: with_interval(figures.get((metric, model))) for model in models},
            **{
                f"gain over {other}": with_interval(gains.get((metric + GAIN, other)), sign="+")
                for other in others
            },
        }
        for metric in dict.fromkeys(metric for metric, _ in figures)
    ]
    main = MAIN_METRIC[kind]
    found = {other: gain_over(report, other, split, main) for other in others}
    for title, chances in (
        (f"p of the {main} gain (paired bootstrap)", {o: gain.p for o, gain in found.items()}),
        ("p of McNemar's exact test", {o: gain.mcnemar_p for o, gain in found.items()}),
    ):
        if any(chance is not None for chance in chances.values()):
            table.append(
                {
                    "metric": title,
                    **dict.fromkeys(models, ""),
                    **{f"gain over {other}": _chance(chance) for other, chance in chances.items()},
                }
            )
    return table


def _chance(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.2g}" if p > 0 else "< 1e-300"  # less than a double holds


def with_interval(row: Mapping[str, Any] | None, sign: str = "") -> str:
    """A figure with its interval, as 0.744 (0.735-0.752), or +0.061 (+0.050..+0.072) with a sign;
    nothing where there is no figure.
    """
    if row is None:
        return ""

    def show(value: float) -> str:
        return f"{value:{sign}.3f}" if abs(value) < 100 else f"{value:{sign}.5g}"

    if row["low"] is None:
        return show(row["value"])
    to = ".." if sign or row["low"] < 0 else "-"
    return f"{show(row['value'])} ({show(row['low'])}{to}{show(row['high'])})"


def pictures_of(
    tested: pa.Table, report: pa.Table, split: str, labels: Sequence[str], kind: TaskKind
) -> dict[str, Picture]:
    """Pictures by name; first the figures of all models.

    Args:
        tested: PREDICTIONS of one split.
        report: EVALUATION.
        split: of `tested`.
        labels: the class system.
        kind: of the task.
    """
    gold, predicted = targets_of(tested, kind), targets_of(tested, kind, "predicted_")
    found = {"bars": ("model and baselines", _model_bars(report, split))}
    if kind == "classification":
        matrix, present = confusion(gold, predicted, labels)
        png = heat_map(matrix, present, "predicted", "gold")
        right = np.array(gold) == np.array(predicted)
        return found | {
            "confusion_matrix": ("confusion matrix", png),
            **_calibration(tested["confidence"].to_pylist(), right),
            **_curves_of_two(gold, probabilities_of(tested, labels), labels),
        }
    if kind == "regression":
        png = scatter(gold, predicted, "gold", "predicted")
        return found | {"scatter": ("gold and predicted", png)}
    by_label = {
        row["label"]: row["value"]
        for row in report.to_pylist()
        if (row["model"], row["split"], row["metric"]) == (FINETUNED, split, "f1")
        and row["label"] != "all"
    }
    if by_label:
        found["by_label"] = ("F1 by label", bars({"F1": by_label}, "F1"))
    return found


def _model_bars(report: pa.Table, split: str) -> bytes:
    """The figures that every model has, with their intervals."""
    rows = [
        row
        for row in report.to_pylist()
        if (row["split"], row["label"], row["against"]) == (split, "all", None)
    ]
    models = dict.fromkeys(row["model"] for row in rows)
    having = Counter(row["metric"] for row in rows)
    shared = [row for row in rows if having[row["metric"]] == len(models)]
    values, ends = dict[str, dict[str, float]](), dict[str, dict[str, tuple[float, float]]]()
    for row in shared:
        value, known = row["value"], row["low"] is not None
        values.setdefault(row["model"], {})[row["metric"]] = value
        between = (row["low"], row["high"]) if known else (value, value)
        ends.setdefault(row["model"], {})[row["metric"]] = between
    return bars(values, split, ends)


def _calibration(confidence: Sequence[float | None], right: np.ndarray) -> dict[str, Picture]:
    """The reliability diagram, where confidences are known."""
    if None in confidence or not confidence:
        return {}
    mean, accuracy, items = reliability(np.array(confidence, float), right)
    return {"calibration": ("calibration", reliability_diagram(mean, accuracy, items))}


def _curves_of_two(
    gold: Sequence[str], probabilities: np.ndarray | None, labels: Sequence[str]
) -> dict[str, Picture]:
    """ROC and precision-recall curves, where there are two labels and both occur."""
    if probabilities is None or len(labels) != 2 or set(gold) != set(labels):
        return {}
    from sklearn.metrics import precision_recall_curve, roc_curve

    by_label = {}
    for code, label in enumerate(labels):
        is_label = np.array(gold) == label
        precision, recall, _ = precision_recall_curve(is_label, probabilities[:, code])
        by_label[label] = (recall, precision)
    false, true, _ = roc_curve(is_label, probabilities[:, code])
    roc = curves({label: (false, true)}, "share of others taken for it", "share of it found")
    return {
        "roc": ("ROC", roc),
        "precision_recall": ("precision and recall", curves(by_label, "recall", "precision")),
    }


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
