"""Splits: decided by a hash of what belongs together, and checked for leakage.

A cluster of duplicates keeps its id when another document comes to stand for it
(`corpus.dedup.founders`), so that an item, and what takes its place, stays in its split as the
corpus grows; whatever else asks for a document's split (pretraining, features) is told the same.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vertical_assets.corpus.dedup.dedup import find_duplicates, normalize
from vertical_assets.labels.targets import kind_of, targets_of
from vertical_assets.spec import VerticalSpec

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def groups_of(documents: pa.Table, spec: VerticalSpec) -> list[str]:
    """What decides each document's split: its duplicate cluster, or the group that `split.group`
    names in its `meta`.
    """
    clusters = documents["cluster_id"].to_pylist()
    if spec.split.group is None:
        return clusters
    metas = (json.loads(meta) for meta in documents["meta"].to_pylist())
    return [
        str(meta.get(spec.split.group) or cluster)
        for meta, cluster in zip(metas, clusters, strict=True)
    ]


def split_of(group: str, spec: VerticalSpec) -> str:
    """Split of a group: the same for ever, whatever other data come or go."""
    share = xxhash.xxh3_64_intdigest(f"{spec.seed}\0{group}".encode()) / 2**64
    if share < spec.split.test:
        return TEST
    return VALIDATION if share < spec.split.test + spec.split.validation else TRAIN


@dataclass(frozen=True)
class Items:
    """Labelled texts of one split, each with its target and the group that it belongs to.

    `labels` are targets by the task's kind (see `labels.targets`); `questions` are there where the
    task is question_answering.
    """

    texts: list[str]
    labels: list[Any]
    groups: list[str]
    questions: list[str] | None = None
    item_ids: list[str] = field(default_factory=list)


def items_of(labeled: pa.Table, split: str) -> Items:
    """One split of a LABELED table."""
    kind = kind_of(labeled)
    chosen = labeled.filter(pc.equal(labeled["split"], split))
    return Items(
        texts=chosen["text"].to_pylist(),
        labels=targets_of(chosen, kind),
        groups=chosen["cluster_id"].to_pylist(),
        questions=chosen["question"].to_pylist() if kind == "question_answering" else None,
        item_ids=chosen["item_id"].to_pylist(),
    )


def held_out(labeled: pa.Table) -> pa.Table:
    """Everything that was not trained on: validation and test."""
    return labeled.filter(pc.not_equal(labeled["split"], TRAIN))


@dataclass(frozen=True)
class Leakage:
    """Items of one split that are found again in another one."""

    same_group: int
    exact: int
    near: int

    @property
    def total(self) -> int:
        return self.same_group + self.exact + self.near


def find_leakage(labeled: pa.Table, spec: VerticalSpec) -> Leakage:
    """Counts groups, normalised texts and near duplicates that stand in more than one split."""
    splits = np.array(labeled["split"].to_pylist())
    texts = [normalize(text) for text in labeled["text"].to_pylist()]
    first = spec.model_copy(update={"dedup": spec.dedup.model_copy(update={"keep": "first"})})
    items = labeled.select(["item_id", "text"]).rename_columns(["doc_id", "text"])
    kept = find_duplicates(items.to_batches(), first).kept
    return Leakage(
        same_group=_in_several(labeled["cluster_id"].to_pylist(), splits),
        exact=_in_several(texts, splits),
        near=int((splits[kept] != splits).sum()),
    )


def _in_several(keys: list[str], splits: np.ndarray) -> int:
    found: dict[str, set[str]] = {}
    for key, split in zip(keys, splits, strict=True):
        found.setdefault(key, set()).add(str(split))
    return sum(len(places) > 1 for places in found.values())
