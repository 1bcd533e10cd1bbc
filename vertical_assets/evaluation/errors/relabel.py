"""The relabel queue: items whose label people should look at again, with the reasons.

Test items are not in it: labelled again where a model disagrees, the test set would drift towards
the model that is judged by it. SPEC T12 inspects errors of validation.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.splits import TEST
from vertical_assets.labels.targets import targets_of, to_cell
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import RELABEL_QUEUE

LABEL_ERROR, CONFIDENT_ERROR = "label_error", "confident_error"
FAR_OFF, OUTLIER = "far_off", "outlier"
FAR = 3.5  # median absolute deviations, scaled, from which a distance is unusual

Item = tuple[str, str | None]  # item_id, question


@dataclass(frozen=True)
class Finding:
    """A reason to look at an item again; `score` is 0 to 1."""

    item: Item
    reason: str
    score: float


def relabel_queue(
    findings: Iterable[Finding], labeled: pa.Table, predictions: pa.Table, kind: TaskKind
) -> pa.Table:
    """RELABEL_QUEUE: every item with a finding once, the most urgent first; no test items.

    Args:
        findings: of any items of `labeled`.
        labeled: LABELED.
        predictions: PREDICTIONS of those items that were held out.
        kind: of the task.
    """
    reasons: dict[Item, dict[str, float]] = {}
    for found in findings:
        reasons.setdefault(found.item, {})[found.reason] = found.score
    said = dict(zip(keys_of(predictions), _cells(predictions, kind, "predicted_"), strict=True))
    sure = dict(zip(keys_of(predictions), predictions["confidence"].to_pylist(), strict=True))
    columns = (labeled[name].to_pylist() for name in ("split", "text"))
    rows: list[dict[str, Any]] = [
        {
            "item_id": key[0],
            "question": key[1],
            "split": split,
            "reasons": sorted(reasons[key]),
            "score": sum(reasons[key].values()),
            "label": label,
            "predicted": said.get(key),
            "confidence": sure.get(key),
            "text": text,
        }
        for key, label, split, text in zip(
            keys_of(labeled), _cells(labeled, kind, ""), *columns, strict=True
        )
        if key in reasons and split != TEST
    ]
    rows.sort(key=lambda row: (-row["score"], row["item_id"], row["question"] or ""))
    return pa.Table.from_pylist(rows, RELABEL_QUEUE)


def keys_of(table: pa.Table) -> list[Item]:
    """What identifies an item of LABELED or PREDICTIONS: its id, and its question if it has one."""
    columns = (table[name].to_pylist() for name in ("item_id", "question"))
    return list(zip(*columns, strict=True))


def unusual(distances: np.ndarray) -> np.ndarray:
    """Scores of distances that stand out from the others, 0 for those that don't.

    By the modified z-score with its bar of 3.5 (Iglewicz and Hoaglin 1993, "How to Detect and
    Handle Outliers"); 1 - bar / distance of those beyond.
    """
    if not len(distances):
        return np.zeros(0)
    middle = np.median(distances)
    bar = middle + FAR * 1.4826 * np.median(np.abs(distances - middle))
    if bar <= 0:
        return np.zeros(len(distances))
    return np.where(distances > bar, 1 - bar / np.maximum(distances, bar), 0.0)


def _cells(table: pa.Table, kind: TaskKind, prefix: str) -> list[str]:
    """Targets as they are for classes, as JSON for other kinds."""
    targets = targets_of(table, kind, prefix)
    if kind == "classification":
        return targets
    return [json.dumps(to_cell(each, kind), ensure_ascii=False) for each in targets]
