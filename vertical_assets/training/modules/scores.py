"""Validation scores by the kind of the task: what decides which weights are kept (SPEC M13)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertical_assets.inference.answers import Answer
from vertical_assets.labels.targets import Span

# The score that is watched, and whether more or less of it is better.
MONITOR: dict[str, tuple[str, str]] = {
    "classification": ("val_f1_macro", "max"),
    "multi_label": ("val_f1_macro", "max"),
    "entities": ("val_span_f1", "max"),
    "question_answering": ("val_answer_f1", "max"),
    "regression": ("val_mae", "min"),
}


def scores(
    kind: str, gold: Sequence[Any], answers: Sequence[Answer], labels: Sequence[str]
) -> dict[str, float]:
    """Scores of answers; `val_accuracy` is the share of items that are wholly right.

    | kind | besides |
    |---|---|
    | classification, multi_label | `val_f1_macro` over the labels that occur |
    | entities | `val_span_f1`, precision and recall over spans that are equal in place and label |
    | question_answering | `val_answer_f1`: overlap in characters with the nearest gold answer |
    | regression | `val_mae`, `val_rmse`, in the values' unit; no accuracy |
    """
    said: list[Any] = [answer.target for answer in answers]
    if kind == "regression":
        errors = np.array(said, float) - np.array(gold, float)
        return {
            "val_mae": float(np.abs(errors).mean()),
            "val_rmse": float((errors**2).mean() ** 0.5),
        }
    found = {"val_accuracy": float(np.mean([a == b for a, b in zip(gold, said, strict=True)]))}
    if kind == "entities":
        return found | span_scores([set(g) for g in gold], [set(s) for s in said])
    if kind == "question_answering":
        pairs = list(zip(gold, said, strict=True))
        return {
            "val_accuracy": float(
                np.mean([s[0] in g if s and g else not (s or g) for g, s in pairs])
            ),
            "val_answer_f1": float(np.mean([answer_f1(g, s) for g, s in pairs])),
        }
    sets = [
        [{each} if isinstance(each, str) else set(each) for each in side] for side in (gold, said)
    ]
    return found | {"val_f1_macro": macro_f1(sets[0], sets[1], labels)}


def macro_f1(gold: Sequence[set[str]], said: Sequence[set[str]], labels: Sequence[str]) -> float:
    """Mean F1 of the labels that occur in either; 0 where none does."""
    values = []
    for label in labels:
        pairs = [(label in g, label in s) for g, s in zip(gold, said, strict=True)]
        wanted, given = sum(g for g, _ in pairs), sum(s for _, s in pairs)
        if wanted + given:
            values.append(2 * sum(g and s for g, s in pairs) / (wanted + given))
    return float(np.mean(values)) if values else 0.0


def span_scores(gold: Sequence[set[Span]], said: Sequence[set[Span]]) -> dict[str, float]:
    """Strict micro precision, recall and F1 of spans, as CoNLL-2003 counts them."""
    right = sum(len(g & s) for g, s in zip(gold, said, strict=True))
    given, wanted = sum(map(len, said)), sum(map(len, gold))
    return {
        "val_span_precision": right / given if given else 0.0,
        "val_span_recall": right / wanted if wanted else 0.0,
        "val_span_f1": 2 * right / (given + wanted) if given + wanted else 0.0,
    }


def answer_f1(gold: Sequence[Span], said: Sequence[Span]) -> float:
    """F1 of the characters of an answer against the best gold one; 1 where neither has any."""
    if not gold or not said:
        return float(not gold and not said)
    answer = said[0]
    shared = [max(0, min(answer.end, g.end) - max(answer.start, g.start)) for g in gold]
    return max(
        2 * both / (answer.end - answer.start + g.end - g.start)
        for both, g in zip(shared, gold, strict=True)
    )


def constant_answer(kind: str, targets: Sequence[Any], labels: Sequence[str]) -> Answer:
    """The best answer that does not look at the item: the most frequent class, all labels (best for
    macro F1), no span, no answer, the median.
    """
    if kind == "classification":
        return Answer(Counter(targets).most_common(1)[0][0], None)
    if kind == "regression":
        return Answer(float(np.median(targets)), None)
    return Answer(tuple(labels) if kind == "multi_label" else (), None)


@dataclass(frozen=True)
class Comparison:
    """A model's score beside that of one constant answer to everything."""

    score: str
    model: float
    constant: float

    @property
    def passed(self) -> bool:
        """Whether looking at the items helps."""
        less_is_better = (self.score, "min") in MONITOR.values()
        return self.model < self.constant if less_is_better else self.model > self.constant


def against_constant(
    kind: str, gold: Sequence[Any], labels: Sequence[str], metrics: Mapping[str, float]
) -> Comparison:
    """Validation scores against the constant answer that is best for the same items: accuracy for
    classes, else the watched score of the kind.
    """
    constant = constant_answer(kind, gold, labels)
    name = "val_accuracy" if kind == "classification" else MONITOR[kind][0]
    return Comparison(name, metrics[name], scores(kind, gold, [constant] * len(gold), labels)[name])
