"""Labelling tasks: what was chosen, with pre-labels, and whom each is for (SPEC D7)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from upath import UPath

from vertical_assets.labels.gold.labeled import ADJUDICATED
from vertical_assets.labels.targets import COLUMN, from_cell, to_cell
from vertical_assets.labels.tasks.pool import draw_pool, rank_of
from vertical_assets.labels.tasks.rules import Prediction, TextRules
from vertical_assets.labels.tasks.selection import Chosen, choose, uncertainties
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, LABELED, RELABEL_QUEUE
from vertical_assets.store.task_contracts import LABELING_TASKS, PRELABELS

EXPERT, ANNOTATOR = "expert", "annotator"
MODEL = "model"  # source of a prediction; of PRELABELS with the release after a colon


@dataclass(frozen=True)
class Plan:
    """What to label next.

    Attributes:
        tasks: LABELING_TASKS.
        facts: figures for the asset's page.
        doubts: how unsure the model is of each document that it was asked about.
    """

    tasks: pa.Table
    facts: dict[str, int]
    doubts: list[float]


@dataclass(frozen=True)
class Known:
    """What is known of items; each table is empty before there is one."""

    labeled: pa.Table
    disputed: pa.Table
    queue: pa.Table
    prelabels: pa.Table

    @classmethod
    def of(
        cls,
        labeled: pa.Table | None = None,
        disputed: pa.Table | None = None,
        queue: pa.Table | None = None,
        prelabels: pa.Table | None = None,
    ) -> "Known":
        """LABELED, ADJUDICATION, RELABEL_QUEUE and PRELABELS, where there are any."""
        return cls(
            _or_empty(labeled, LABELED),
            _or_empty(disputed, ADJUDICATION),
            _or_empty(queue, RELABEL_QUEUE),
            _or_empty(prelabels, PRELABELS),
        )


def _or_empty(table: pa.Table | None, schema: pa.Schema) -> pa.Table:
    return schema.empty_table() if table is None else table


def plan_tasks(
    documents: Iterable[pa.RecordBatch], known: Known, spec: VerticalSpec, data: UPath
) -> Plan:
    """Chooses what to label next.

    Left alone are items with labels of `annotation.tasks.enough` annotators and decided ones,
    unless the relabel queue names them, and disputed ones, which wait for a decision.

    Args:
        documents: batches with doc_id, text.
        known: what is known already.
        spec: `annotation.tasks`, `task`, `clean`, `language`, `seed`.
        data: the vertical's drop folder, for the dictionaries of rules.

    Raises:
        SourceError: a rule's dictionary can't be read.
    """
    settings = spec.annotation.tasks
    rules = TextRules(spec, data)
    disputed = set(known.disputed["item_id"].to_pylist())
    columns = (known.labeled[name].to_pylist() for name in ("item_id", "n_annotators", "method"))
    enough = {
        item
        for item, people, method in zip(*columns, strict=True)
        if people >= settings.enough or method == ADJUDICATED
    }
    pool = draw_pool(documents, enough | disputed, settings.pool, spec.seed)
    queue = [row for row in known.queue.to_pylist() if row["item_id"] not in disputed]
    said = {row["item_id"]: row for row in known.prelabels.to_pylist()}
    chosen = choose(pool, said, queue, _some_texts(known.labeled, spec), spec)
    queued = {(row["item_id"], row["question"]): row for row in queue}
    rows = [_row(each, said, queued, rules, spec) for each in chosen]
    doubts = uncertainties(pool, said, settings.uncertainty, len(spec.labels))
    facts = {
        "tasks": len(rows),
        "wanted": settings.count,
        "pool": len(pool),
        "with_enough_labels": len(enough),
        "disputed": len(disputed),
        "relabel_queue": len(queue),
        "asked_the_model": len(said),
    }
    return Plan(pa.Table.from_pylist(rows, LABELING_TASKS), facts, list(doubts.values()))


def _some_texts(labeled: pa.Table, spec: VerticalSpec) -> list[str]:
    """Texts of labelled documents, as many as the pool has at most."""
    columns = (labeled[name].to_pylist() for name in ("item_id", "text"))
    texts = dict(zip(*columns, strict=True))
    ids = sorted(texts, key=lambda item: rank_of(item, spec.seed))
    return [texts[item] for item in ids[: spec.annotation.tasks.pool]]


def _row(
    each: Chosen,
    said: Mapping[str, Mapping[str, Any]],
    queued: Mapping[tuple[str, str | None], Mapping[str, Any]],
    rules: TextRules,
    spec: VerticalSpec,
) -> dict[str, Any]:
    kind, experts = spec.task.kind, spec.annotation.tasks.experts
    by_rule = rules.read(each.text)
    in_queue = queued.get((each.item_id, each.question))
    model = _by_model(said.get(each.item_id), in_queue, kind)
    predictions = [found for found in (model, by_rule.prediction) if found is not None]
    why = [by_rule.key] if by_rule.key else []
    if in_queue is not None and experts.relabel:
        why.append(f"relabel queue ({', '.join(in_queue['reasons'])})")
    if model is not None and model.score is not None and model.score < experts.confidence:
        why.append(f"the model is {model.score:.3f} sure, less than {experts.confidence:g}")
    return {
        "item_id": each.item_id,
        "question": each.question,
        "text": each.text,
        "strategy": each.strategy,
        "score": each.score,
        "reason": each.reason,
        "predictions": json.dumps([_as_json(p, kind) for p in predictions], ensure_ascii=False),
        "route": EXPERT if why else ANNOTATOR,
        "route_reason": "; ".join(why) or None,
    }


def _by_model(
    said: Mapping[str, Any] | None, queued: Mapping[str, Any] | None, kind: TaskKind
) -> Prediction | None:
    """What the released model says; else, of held-out items in the relabel queue, the last one."""
    if said is not None:
        source = f"{MODEL}:{said['champion']}"
        return Prediction(source, said["confidence"], from_cell(said[COLUMN[kind]], kind))
    if queued is None or queued["predicted"] is None:
        return None
    cell = queued["predicted"]
    target = from_cell(cell if kind == "classification" else json.loads(cell), kind)
    return Prediction(MODEL, queued["confidence"], target)


def _as_json(prediction: Prediction, kind: TaskKind) -> dict[str, Any]:
    return {
        "source": prediction.source,
        "score": prediction.score,
        "target": to_cell(prediction.target, kind),
    }
