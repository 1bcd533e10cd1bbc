"""Metrics of a model and of its baselines, as rows of EVALUATION (SPEC E1, E4).

The scores are those of `classification` and `scores`, the gains those of `significance`; here they
are put side by side, and become the report's gates.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.evaluation.classification import classification_scores
from vertical_assets.evaluation.names import (
    FINETUNED,
    INCUMBENT,
    MAIN,
    MAIN_METRIC,
    MAJORITY,
    MEAN,
    TITLES,
)
from vertical_assets.evaluation.regression import number_scores
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.scores import (
    Score,
    answer_scores,
    multi_label_scores,
    span_scores,
)
from vertical_assets.evaluation.significance import gain_over, gain_rows, mcnemar_row
from vertical_assets.labels.splits import TEST
from vertical_assets.labels.targets import Span, Target, targets_of
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import EVALUATION
from vertical_assets.store.gates import Gate
from vertical_assets.training.baselines.names import BASELINES
from vertical_assets.training.predictions import probabilities_of


def report_of(
    ours: pa.Table,
    baselines: pa.Table | None,
    train_labels: Sequence[Any],
    labels: Sequence[str],
    kind: TaskKind = "classification",
    texts: Mapping[str, str] | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
    incumbent: pa.Table | None = None,
) -> pa.Table:
    """EVALUATION, by split, of the model, of the baselines, of what needs no text (the majority
    class, the labels that most items have, or the mean; spans and answers have nothing like it) and
    of the incumbent; every figure of the model and each gain with its 95 % interval.

    Args:
        ours: PREDICTIONS of the model.
        baselines: PREDICTIONS of the baselines, each of the same items, told apart by `model`.
        train_labels: targets of the training split; without any there is no majority.
        labels: the class system.
        kind: of the task.
        texts: item_id -> text, for question_answering, whose answers are compared as texts.
        groups: item_id -> what the bootstrap draws together; by default each item alone.
        seed: of the bootstrap.
        incumbent: PREDICTIONS of the released model, of the same items; other ones are left out.

    Raises:
        ValueError: a baseline or the incumbent says nothing about some items.
    """
    trivial = _trivial(train_labels, labels, kind) if len(train_labels) else None
    rows: list[dict[str, Any]] = []
    for split in sorted(set(ours["split"].to_pylist())):
        chosen = ours.filter(pc.equal(ours["split"], split))
        items = chosen["item_id"].to_pylist()
        draws = Draws([(groups or {}).get(item, item) for item in items], seed)
        tables = {FINETUNED: chosen}
        for model, said in _by_model(baselines, BASELINES[kind]).items():
            tables[model] = _of_items(chosen, said, model)
        if incumbent is not None:
            tables[INCUMBENT] = _of_items(chosen, incumbent, INCUMBENT)
        gold = targets_of(chosen, kind)
        predicted = {name: targets_of(each, kind, "predicted_") for name, each in tables.items()}
        if trivial is not None:
            predicted[trivial[0]] = [trivial[1]] * len(gold)
        found = {
            model: _scores(tables.get(model), gold, said, chosen, labels, kind, texts or {}, draws)
            for model, said in predicted.items()
        }
        for model, scores in found.items():
            rows += [score.row(model, split) for score in scores]
        for model in list(found)[1:]:
            rows += gain_rows(found[FINETUNED], found[model], split, model, MAIN_METRIC[kind])
            if kind == "classification":
                said = predicted[FINETUNED], predicted[model]
                rows.append(mcnemar_row(gold, *said, split, model))
    return pa.Table.from_pylist(rows, EVALUATION)


def _by_model(baselines: pa.Table | None, unnamed: str) -> dict[str, pa.Table]:
    """Baselines by name; one without a name is `unnamed`."""
    if baselines is None:
        return {}
    names = pc.fill_null(baselines["model"], unnamed)
    return {
        name: baselines.filter(pc.equal(names, name)) for name in dict.fromkeys(names.to_pylist())
    }


def _of_items(items: pa.Table, said: pa.Table, model: str) -> pa.Table:
    """The rows of `said` that are about some items, in their order."""
    keys, known = (
        list(zip(table["item_id"].to_pylist(), table["question"].to_pylist(), strict=True))
        for table in (items, said)
    )
    place = {key: number for number, key in enumerate(known)}
    missing = [key[0] for key in keys if key not in place]
    if missing:
        raise ValueError(
            f"{model} says nothing about {len(missing)} of {len(keys)} items, e.g. {missing[0]}; "
            "let it predict the same labeled_set"
        )
    return said.take([place[key] for key in keys])


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


def _scores(
    table: pa.Table | None,
    gold: Sequence[Any],
    predicted: Sequence[Any],
    items: pa.Table,
    labels: Sequence[str],
    kind: TaskKind,
    texts: Mapping[str, str],
    draws: Draws,
) -> list[Score]:
    """Scores of one model.

    Args:
        table: its PREDICTIONS; None where it is a constant.
        items: PREDICTIONS with the items and their gold targets.
    """
    if kind == "question_answering":
        in_text = [texts[item] for item in items["item_id"].to_pylist()]
        answers, said = (covered(side, in_text) for side in (gold, predicted))
        return scores_of(kind, answers, said, labels, draws, items["label"].to_pylist())
    if kind != "classification" or table is None:
        return scores_of(kind, gold, predicted, labels, draws)
    probabilities = probabilities_of(table, labels)
    confidence = table["confidence"].to_pylist()
    return classification_scores(gold, predicted, labels, draws, confidence, probabilities)


def scores_of(
    kind: TaskKind,
    gold: Sequence[Any],
    predicted: Sequence[Any],
    labels: Sequence[str],
    draws: Draws,
    types: Sequence[str | None] | None = None,
) -> list[Score]:
    """Scores of answers to a task of any kind.

    Args:
        kind: of the task.
        gold, predicted: a target per item; of question_answering the texts of the answers.
        labels: the class system.
        draws: resampled items.
        types: type of each question.
    """
    if kind == "question_answering":
        return answer_scores(gold, predicted, types or [None] * len(gold), draws)
    if kind == "multi_label":
        return multi_label_scores(gold, predicted, labels, draws)
    if kind == "entities":
        return span_scores(gold, predicted, labels, draws)
    if kind == "regression":
        return number_scores(gold, predicted, draws)
    return classification_scores(gold, predicted, labels, draws)


def covered(targets: Sequence[Sequence[Span]], texts: Sequence[str]) -> list[list[str]]:
    """What spans cover, of each text."""
    return [
        [text[span.start : span.end] for span in spans]
        for spans, text in zip(targets, texts, strict=True)
    ]


def classification_rows(
    model: str, split: str, gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Scores of a classification as rows of EVALUATION, without intervals."""
    return [each.row(model, split) for each in classification_scores(gold, predicted, labels)]


def macro_f1(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    """Macro F1 as in the report."""
    scores = classification_scores(gold, predicted, labels)
    return next(score.value for score in scores if score.metric == MAIN)


def figures_of(report: pa.Table, model: str, split: str) -> dict[str, float]:
    """A model's figures of all items of a split, by metric; undefined ones are not among them."""
    return {
        row["metric"]: row["value"]
        for row in report.to_pylist()
        if (row["model"], row["split"], row["label"]) == (model, split, "all")
        and row["against"] is None
    }


def value_of(report: pa.Table, model: str, split: str, metric: str) -> float:
    """One figure of the report; nan where it is undefined."""
    return figures_of(report, model, split).get(metric, math.nan)


def gates_of(report: pa.Table, spec: VerticalSpec) -> list[Gate]:
    """The gates of `eval_report`, from the report as it is stored.

    Args:
        report: EVALUATION.
        spec: sections `evaluate`, `task`.
    """
    metric = MAIN_METRIC[spec.task.kind]
    title, score = TITLES[metric], value_of(report, FINETUNED, TEST, metric)
    rivals = {
        model: value_of(report, model, TEST, metric)
        for model in dict.fromkeys(report["model"].to_pylist())
        if model not in (FINETUNED, INCUMBENT)
    }
    best = max((value for value in rivals.values() if not math.isnan(value)), default=math.nan)
    of_best = next((model for model, value in rivals.items() if value == best), "none")
    beats = score > best
    why = (
        f"test {title} {score:.4f}, best baseline {of_best} {best:.4f}, "
        f"{gain_over(report, of_best, TEST, metric).words}"
    )
    if not beats:
        why += ": the model is no better than the baseline"
    gates = [Gate("beats_baseline", beats, True, score, best, why)]
    if "f1" in metric:
        bar = spec.evaluate.f1
        why = f"test {title} {score:.4f}, excellent from {bar}"
        gates.append(Gate("f1_excellent", score >= bar, False, score, bar, why))
    return gates
