"""Annotations: what people's files say about which item, checked against the standard (SPEC D7)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.reading.sources import (
    Row,
    SourceError,
    document_id,
    drop_folder,
    files_of,
    fingerprint,
    read_file,
)
from vertical_assets.labels.anchoring import BreachError, ItemText
from vertical_assets.labels.standard import (
    is_one_span,
    overlap_reason,
    read_question,
    read_target,
)
from vertical_assets.labels.targets import COLUMN, Span, Target, overlapping, to_cell
from vertical_assets.spec import Source, VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE
from vertical_assets.store.tombstones import FILE as TOMBSTONES
from vertical_assets.store.tombstones import read as read_tombstones


@dataclass(frozen=True)
class Collected:
    """Annotations that fit the label standard, and rows that don't, with the reason."""

    annotations: pa.Table
    rejected: pa.Table
    forgotten: int = 0  # rows about documents that somebody asked to forget
    joined: int = 0  # rows that are further spans of an annotation

    @property
    def rows(self) -> int:
        return self.annotations.num_rows + self.joined + self.rejected.num_rows + self.forgotten


@dataclass
class _Judgement:
    """What one annotator says about one item, from one row or, span by span, from several."""

    row: dict[str, Any]
    rows: list[tuple[UPath, Row]]
    spans: list[Span] = field(default_factory=list)
    by_span: bool = False
    broken: bool = False  # one of its rows was rejected


def needed_columns(spec: VerticalSpec) -> list[str]:
    """Columns of DEDUP_DOCUMENTS that annotations of this task are checked against."""
    return ["doc_id", "meta", *(["text", "changes"] if spec.task.has_spans else [])]


def texts_of(documents: pa.Table, spec: VerticalSpec) -> dict[str, ItemText]:
    """Text of every item, and whether cleaning changed it; nothing where targets are no spans."""
    if not spec.task.has_spans:
        return {}
    return {
        id_: ItemText(text, any(change["field"] == "text" for change in json.loads(changes)))
        for id_, text, changes in zip(
            *(documents[name].to_pylist() for name in ("doc_id", "text", "changes")), strict=True
        )
    }


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
    What was said about a dropped duplicate counts for the document that was kept. Rows that give
    one span each are joined to one annotation by item, annotator and question; if one of them is
    rejected, all are, since what is left would say that there is nothing at its place.

    Args:
        spec: sections `annotation`, `task`, `clean`.
        documents: `needed_columns` of DEDUP_DOCUMENTS; other items can't be labelled.
        duplicates: DUPLICATES.

    Raises:
        SourceError: there is no file.
    """
    known = set(documents["doc_id"].to_pylist())
    texts = texts_of(documents, spec)
    kept = dict(
        zip(duplicates["dropped_id"].to_pylist(), duplicates["kept_id"].to_pylist(), strict=True)
    )
    tombstones = read_tombstones(drop_folder(spec.name) / TOMBSTONES)
    gone = {entry.doc_id for entry in tombstones.entries}
    judged: dict[tuple[str, str, str | None], _Judgement] = {}
    bad, forgotten = [], 0
    for file in files_of(label_files(spec), drop_folder(spec.name)):
        for row in read_file(file, label_files(spec)):
            named = _item_of(row.values)
            if named in gone:
                forgotten += 1
                continue
            item, text = kept.get(named, named), None
            if item in texts:
                # A duplicate's text is much the same, not the same.
                text = ItemText(texts[item].text, texts[item].changed or item != named)
            try:
                _add(judged, item, item in known, text, file, row, spec)
            except BreachError as breach:
                bad.append(_rejected(item, file, row, breach))
    good, joined = [], 0
    for judgement in judged.values():
        breach_ = _of_all_spans(judgement)
        if breach_ is not None:
            item = judgement.row["item_id"]
            bad += [_rejected(item, file, row, breach_) for file, row in judgement.rows]
            continue
        if judgement.by_span:
            judgement.row["spans"] = to_cell(tuple(judgement.spans), spec.task.kind)
        joined += len(judgement.rows) - 1
        good.append(judgement.row)
    return Collected(
        pa.Table.from_pylist(good, ANNOTATIONS),
        pa.Table.from_pylist(bad, QUARANTINE),
        forgotten,
        joined,
    )


def annotation(
    item: str,
    target: Target,
    spec: VerticalSpec,
    *,
    annotator: str,
    kind: str,
    batch: str,
    question: tuple[str, str | None] | None = None,
    text: ItemText | None = None,
    created_at: str | None = None,
) -> dict[str, Any]:
    """A row of ANNOTATIONS; `question` is a question and its type."""
    asked, type_ = question or (None, None)
    return {
        "item_id": item,
        "task": spec.task.name,
        "annotator_id": annotator,
        "annotator_kind": kind,
        "label": type_,
        COLUMN[spec.task.kind]: to_cell(target, spec.task.kind),
        "question": asked,
        "characters": len(text.text) if text else None,
        "batch": batch,
        "created_at": created_at,
    }


def _item_of(values: Mapping[str, Any]) -> str:
    return values.get("item_id") or document_id(str(values.get("source")), str(values.get("id")))


def _add(
    judged: dict[tuple[str, str, str | None], _Judgement],
    item: str,
    known: bool,
    text: ItemText | None,
    file: UPath,
    row: Row,
    spec: VerticalSpec,
) -> None:
    """Adds what a row says; raises BreachError where it breaks the standard."""
    values = dict(row.values)
    annotator = str(values.get("annotator_id") or "")
    if row.rule is not None:
        raise BreachError(row.rule, "row", str(row.reason))
    if not known:
        raise BreachError("unknown_item", "row", "no document has this id")
    if not annotator:
        raise BreachError("missing_annotator", "row", "annotator_id is empty")
    asks = spec.task.kind == "question_answering"
    question = read_question(values, spec) if asks else None
    by_span = spec.task.has_spans and is_one_span(values)
    key = (item, annotator, question[0] if question else None)
    before = judged.get(key)
    try:
        target = read_target(values, text, spec)
    except BreachError:
        if by_span and (before is None or before.by_span):  # what else comes is incomplete
            judged.setdefault(key, _Judgement({"item_id": item}, [], by_span=True)).broken = True
        raise
    if before is not None and not (by_span and before.by_span):
        raise BreachError("repeated", "row", f"{annotator} labelled this item before")
    if before is None or not before.rows:
        row_ = annotation(
            item,
            target,
            spec,
            annotator=annotator,
            kind=values.get("annotator_kind") or "human",
            batch=file.name,
            question=question,
            text=text,
            created_at=values.get("created_at"),
        )
        before = judged[key] = _Judgement(
            row_, [], by_span=by_span, broken=bool(before and before.broken)
        )
    if by_span:
        (span,) = cast("tuple[Span, ...]", target)
        if span in before.spans:
            raise BreachError("repeated", "row", f"{annotator} gave this span before")
        before.spans.append(span)
    before.rows.append((file, row))


def _of_all_spans(judgement: _Judgement) -> BreachError | None:
    """Why an annotation made of several rows can't be used."""
    if judgement.broken:
        reason = "another span of this annotator in this item was rejected; mend that one"
        return BreachError("incomplete", "row", reason)
    clash = overlapping(judgement.spans)
    return BreachError("overlapping_spans", "spans", overlap_reason(*clash)) if clash else None


def _rejected(item: str, file: UPath, row: Row, breach: BreachError) -> dict[str, Any]:
    values = dict(row.values)
    return {
        "doc_id": str(item),
        "source": file.name,
        "origin": row.place,
        "rule": breach.rule,
        "field": breach.field,
        "value": json.dumps(values, ensure_ascii=False, default=str)[:200],
        "reason": str(breach),
    }
