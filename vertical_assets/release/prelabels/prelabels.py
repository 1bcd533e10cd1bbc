"""Pre-labels by the champion, on a bounded sample of the documents without a gold label."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from upath import UPath

from vertical_assets.inference.answers import Answer, class_answers
from vertical_assets.labels.targets import COLUMN, to_cell
from vertical_assets.labels.tasks.pool import draw_pool
from vertical_assets.release.artifacts import other_standard
from vertical_assets.release.channels import ReleaseError, open_champion
from vertical_assets.release.predictor import Predictor
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.task_contracts import PRELABELS

ASKS_NOTHING = "documents without labels have no questions yet, so there is nothing to answer"


@dataclass(frozen=True)
class Prelabels:
    """What the champion says: PRELABELS, and why there is nothing where there is nothing."""

    table: pa.Table
    champion: str | None
    reason: str


def prelabel(
    documents: Iterable[pa.RecordBatch], labeled: pa.Table, releases: UPath, spec: VerticalSpec
) -> Prelabels:
    """Asks the champion about up to `annotation.tasks.pool` documents without a gold label.

    Args:
        documents: batches with doc_id, text.
        labeled: LABELED, whose items are left out.
        releases: folder of the vertical's releases.
        spec: `annotation.tasks.pool`, `task`, `seed`.

    Raises:
        DamagedArtifactError: a file of the champion was changed.
    """
    kind = spec.task.kind
    try:
        champion, predictor = open_champion(releases)
    except ReleaseError as error:
        return Prelabels(PRELABELS.empty_table(), None, f"{error}; the first release makes one")
    if kind == "question_answering":
        return Prelabels(PRELABELS.empty_table(), champion, ASKS_NOTHING)
    changed = other_standard(predictor.description, spec)
    if changed is not None:
        return Prelabels(PRELABELS.empty_table(), champion, changed)
    gold = set(labeled["item_id"].to_pylist())
    pool = draw_pool(documents, gold, spec.annotation.tasks.pool, spec.seed)
    rows = [
        {"item_id": each.item_id, "champion": champion, **said}
        for each, said in zip(
            pool, _said(predictor, [each.text for each in pool], kind), strict=True
        )
    ]
    reason = "" if rows else "every document has a gold label"
    return Prelabels(pa.Table.from_pylist(rows, PRELABELS), champion, reason)


def _said(predictor: Predictor, texts: list[str], kind: TaskKind) -> list[Mapping[str, Any]]:
    """Columns of PRELABELS for each text."""
    if not texts:
        return []
    if kind != "classification":
        return [_columns(answer, kind) for answer in predictor.answers(texts)]
    shares = np.asarray(predictor.probabilities(texts), np.float64)
    ranked = np.sort(shares, axis=1)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    margins, entropies = ranked[:, -1] - ranked[:, -2], -(shares * logs).sum(axis=1)
    return [
        {**_columns(answer, kind), "margin": float(margin), "entropy": float(entropy)}
        for answer, margin, entropy in zip(
            class_answers(shares, predictor.labels), margins, entropies, strict=True
        )
    ]


def _columns(answer: Answer, kind: TaskKind) -> dict[str, Any]:
    return {COLUMN[kind]: to_cell(answer.target, kind), "confidence": answer.confidence}
