"""Annotations: read from people's files, or simulated from gold and named so (SPEC D7)."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vertical_assets.corpus.reading.sources import (
    SourceError,
    document_id,
    drop_folder,
    files_of,
    fingerprint,
    read_file,
)
from vertical_assets.spec import Simulate, Source, VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE
from vertical_assets.store.tombstones import FILE as TOMBSTONES
from vertical_assets.store.tombstones import read as read_tombstones

SIMULATED = "simulated"


@dataclass(frozen=True)
class Collected:
    """Annotations that fit the label standard, and rows that don't, with the reason."""

    annotations: pa.Table
    rejected: pa.Table
    forgotten: int = 0  # rows about documents that somebody asked to forget

    @property
    def rows(self) -> int:
        return self.annotations.num_rows + self.rejected.num_rows + self.forgotten


def label_files(spec: VerticalSpec) -> Source:
    """The drop folder of annotations, as a source: the same readers serve both."""
    return Source(
        name="annotations", kind="user", licence="own", path=spec.annotation.path, format=None
    )


def label_fingerprint(spec: VerticalSpec) -> str:
    """Digest of the label files' names and bytes; "missing" where there are none."""
    try:
        return fingerprint(label_files(spec), drop_folder(spec.name))
    except SourceError:
        return "missing"


def read_annotations(spec: VerticalSpec, documents: pa.Table, duplicates: pa.Table) -> Collected:
    """Reads every file of `annotation.path`.

    A row names its item by `item_id` (a doc_id), or by `source` and `id` as the source had them.
    What was said about a dropped duplicate counts for the document that was kept.

    Args:
        spec: sections `annotation`, `task`.
        documents: DEDUP_DOCUMENTS; other items can't be labelled.
        duplicates: DUPLICATES.

    Raises:
        SourceError: there is no file.
    """
    known = set(documents["doc_id"].to_pylist())
    kept = dict(
        zip(duplicates["dropped_id"].to_pylist(), duplicates["kept_id"].to_pylist(), strict=True)
    )
    tombstones = read_tombstones(drop_folder(spec.name) / TOMBSTONES)
    gone = {entry.doc_id for entry in tombstones.entries}
    good, bad, forgotten = [], [], 0
    seen: set[tuple[str, str]] = set()
    for file in files_of(label_files(spec), drop_folder(spec.name)):
        for row in read_file(file, label_files(spec)):
            values = dict(row.values)
            item = values.get("item_id") or document_id(
                str(values.get("source")), str(values.get("id"))
            )
            if item in gone:
                forgotten += 1
                continue
            item = kept.get(item, item)
            annotator, label = str(values.get("annotator_id") or ""), values.get("label")
            rule, reason = row.rule, row.reason
            if rule is None and item not in known:
                rule, reason = "unknown_item", "no document has this id"
            elif rule is None and not annotator:
                rule, reason = "missing_annotator", "annotator_id is empty"
            elif rule is None and label not in spec.task.labels:
                rule = "unknown_label"
                reason = f"{label!r} is no label of task {spec.task.name!r} (see task.labels)"
            elif rule is None and (item, annotator) in seen:
                rule, reason = "repeated", f"{annotator} labelled this item before"
            if rule is not None:
                bad.append(
                    {
                        "doc_id": str(item),
                        "source": file.name,
                        "origin": row.place,
                        "rule": rule,
                        "field": "label" if rule == "unknown_label" else "row",
                        "value": json.dumps(values, ensure_ascii=False, default=str)[:200],
                        "reason": reason,
                    }
                )
                continue
            seen.add((item, annotator))
            good.append(
                {
                    "item_id": item,
                    "task": spec.task.name,
                    "annotator_id": annotator,
                    "annotator_kind": values.get("annotator_kind") or "human",
                    "label": label,
                    "batch": file.name,
                    "created_at": values.get("created_at"),
                }
            )
    return Collected(
        pa.Table.from_pylist(good, ANNOTATIONS), pa.Table.from_pylist(bad, QUARANTINE), forgotten
    )


def simulate_annotations(documents: pa.Table, how: Simulate, spec: VerticalSpec) -> Collected:
    """Every annotator labels every document with its gold label, and errs at `error_rate`.

    An error is any other class, all equally likely. Seeded by `spec.seed` and drawn per document
    and annotator from the document's id, so that new documents change no earlier label.
    """
    labels = spec.labels
    index = {label: code for code, label in enumerate(labels)}
    ids = documents["doc_id"].to_pylist()
    gold = [str(json.loads(meta).get(how.gold)) for meta in documents["meta"].to_pylist()]
    wrong = sorted({label for label in gold if label not in index})
    if wrong:
        raise SourceError(
            f"annotation.simulate.gold {how.gold!r}: {wrong[0]!r} is no label of task "
            f"{spec.task.name!r}; add it under task.labels or correct 'gold'"
        )
    words = np.array([[int(id_[:16], 16), int(id_[16:], 16)] for id_ in ids], np.uint64)
    codes = np.array([index[label] for label in gold])
    columns = []
    for annotator in range(how.annotators):
        draws = _uniform(words[:, 0] ^ _salt(spec.seed, 2 * annotator))
        shifts = _uniform(words[:, 1] ^ _salt(spec.seed, 2 * annotator + 1))
        errs = draws < how.error_rate
        others = 1 + (shifts * (len(labels) - 1)).astype(np.int64)
        columns.append(np.where(errs, (codes + others) % len(labels), codes))
    said = np.stack(columns, axis=1).ravel()
    size = len(ids)
    names = [f"{SIMULATED}_{number + 1}" for number in range(how.annotators)]
    columns_ = {
        "item_id": pa.array(ids).take(pa.array(np.repeat(np.arange(size), how.annotators))),
        "task": pa.repeat(spec.task.name, len(said)),
        "annotator_id": pa.array(names * size),
        "annotator_kind": pa.repeat(SIMULATED, len(said)),
        "label": pa.array(labels).take(pa.array(said)),
        "batch": pa.repeat(SIMULATED, len(said)),
    }
    table = pa.Table.from_arrays(
        [columns_.get(field.name, pa.nulls(len(said), field.type)) for field in ANNOTATIONS],
        schema=ANNOTATIONS,
    )
    return Collected(table, QUARANTINE.empty_table())


def _salt(seed: int, stream: int) -> np.uint64:
    return np.random.default_rng([seed, stream]).integers(0, 2**63, dtype=np.uint64)


def _uniform(words: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) from 64-bit words, through splitmix64's finalizer."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (words ^ (words >> np.uint64(31))).astype(np.float64) / 2.0**64
