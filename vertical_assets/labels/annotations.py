"""Annotations: what people's files say about which item, checked against the standard (SPEC D7)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import numpy as np
import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.reading.sources import Row
from vertical_assets.labels.anchoring import BreachError
from vertical_assets.labels.files import rows_of
from vertical_assets.labels.items import Items, item_named
from vertical_assets.labels.standard import (
    check_task,
    is_of_task,
    is_one_span,
    overlap_reason,
    read_question,
    read_target,
    written,
)
from vertical_assets.labels.statements import (
    annotation,
    annotator_of,
    check_kind,
    kind_of,
    moment,
    rejected,
    seconds,
)
from vertical_assets.labels.targets import Span, overlapping, to_cell
from vertical_assets.labels.votes import ANNOTATOR_KINDS
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE

ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Collected:
    """Annotations that fit the label standard, and rows that don't, with the reason."""

    annotations: pa.Table
    rejected: pa.Table
    forgotten: int = 0  # rows about documents that somebody asked to forget
    joined: int = 0  # rows that are further spans of an annotation
    read: int | None = None  # rows of the files; None where there are none

    @property
    def rows(self) -> int:
        return self.annotations.num_rows + self.joined + self.rejected.num_rows + self.forgotten

    @property
    def conserved(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read in (None, self.rows)


@dataclass
class _Judgement:
    """What one annotator says about one item, from one row or, span by span, from several."""

    row: dict[str, Any]
    rows: list[tuple[UPath, Row]]
    spans: list[Span] = field(default_factory=list)
    by_span: bool = False
    broken: bool = False  # one of its rows was rejected


def read_annotations(
    spec: VerticalSpec, items: Items, files: Sequence[UPath], batch: str
) -> Collected:
    """Reads the files of one batch.

    A row names its item by `item_id` (a doc_id), or by `source` and `id` as the source had them.
    What was said about a dropped duplicate counts for the document that was kept. Rows that give
    one span each are joined to one annotation by item, annotator and question; if one of them is
    rejected, all are, since what is left would say that there is nothing at its place.

    Args:
        spec: sections `annotation`, `task`, `clean`.
        items: `items_of`; other items can't be labelled.
        files: the batch's.
        batch: its key.
    """
    read = read_classes if spec.task.kind == "classification" else read_rows
    return read(spec, items, files, batch)


def read_rows(spec: VerticalSpec, items: Items, files: Sequence[UPath], batch: str) -> Collected:
    """`read_annotations` row by row, for tasks of any kind."""
    judged: dict[tuple[str, str, str | None], _Judgement] = {}
    bad, forgotten, read = [], 0, 0
    for file in files:
        for row in rows_of(file, spec):
            read += 1
            named = item_named(row.values)
            if named in items.gone:
                forgotten += 1
                continue
            item = items.kept.get(named, named)
            try:
                _add(judged, item, named, items, batch, file, row, spec)
            except BreachError as breach:
                bad.append(rejected(item, file, row, breach))
    good, joined = [], 0
    for judgement in judged.values():
        breach_ = _of_all_spans(judgement)
        if breach_ is not None:
            item = judgement.row["item_id"]
            bad += [rejected(item, file, row, breach_) for file, row in judgement.rows]
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
        read,
    )


def read_classes(spec: VerticalSpec, items: Items, files: Sequence[UPath], batch: str) -> Collected:
    """`read_annotations` of a classification, column by column: the same as `read_rows` finds, in a
    fraction of its time. Rows that break the standard are looked at one by one, to say why.
    """
    places = {item: number for number, item in enumerate(items.known)}
    codes = {label: number for number, label in enumerate(spec.labels)}
    people: dict[str, int] = {}
    seen: set[int] = set()  # item and annotator of the annotations so far
    good, bad, forgotten, read = [], [], 0, 0
    for file in files:
        rows = rows_of(file, spec)
        while several := list(islice(rows, ROWS_AT_ONCE)):
            named = [item_named(row.values) for row in several]
            live = [number for number, name in enumerate(named) if name not in items.gone]
            read, forgotten = read + len(several), forgotten + len(several) - len(live)
            rows_, named = [several[n] for n in live], [named[n] for n in live]
            item = [items.kept.get(name, name) for name in named]
            who = [annotator_of(row.values) for row in rows_]
            place = _integers(places.get(each, -1) for each in item)
            person = _integers(people.setdefault(name, len(people)) for name in who)
            label = _integers(_code(row.values.get("label"), codes) for row in rows_)
            fits = np.array(
                [
                    row.rule is None
                    and who[n] != ""
                    and is_of_task(row.values, spec)
                    and kind_of(row.values) in ANNOTATOR_KINDS
                    for n, row in enumerate(rows_)
                ],
                bool,
            )
            fits &= (place >= 0) & (label >= 0)
            keys = ((place << 32) + person).tolist()
            for number in np.flatnonzero(fits).tolist():
                fits[number] = keys[number] not in seen
                seen.add(keys[number])
            for number in np.flatnonzero(~fits).tolist():
                judged: dict[tuple[str, str, str | None], _Judgement] = {}
                if keys[number] in seen:
                    judged[item[number], who[number], None] = _Judgement({}, [])
                row, name = rows_[number], named[number]
                try:
                    _add(judged, item[number], name, items, batch, file, row, spec)
                except BreachError as breach:
                    bad.append(rejected(item[number], file, row, breach))
            table = _annotations([row.values for row in rows_], item, who, batch, spec)
            good.append(table.filter(pa.array(fits, pa.bool_())))
    return Collected(
        pa.concat_tables([ANNOTATIONS.empty_table(), *good]),
        pa.Table.from_pylist(bad, QUARANTINE),
        forgotten,
        read=read,
    )


def _annotations(
    rows: Sequence[Mapping[str, Any]],
    item: Sequence[str],
    who: Sequence[str],
    batch: str,
    spec: VerticalSpec,
) -> pa.Table:
    """ANNOTATIONS of rows of a classification, as `annotation` makes them one by one."""
    said = [row.get("label") for row in rows]
    times = [row.get("created_at") for row in rows]
    texts = ["" if time is None else str(time) for time in times]
    moments = {time: moment(time) for time in set(texts)}
    columns = {
        "item_id": item,
        "task": pa.repeat(spec.task.name, len(rows)),
        "annotator_id": who,
        "annotator_kind": [kind_of(row) for row in rows],
        "label": [each if isinstance(each, str) else None for each in map(written, said)],
        "batch": pa.repeat(batch, len(rows)),
        "created_at": [moments[time] for time in texts],
        "lead_time_s": [seconds(row.get("lead_time_s")) for row in rows],
    }
    return pa.table(
        [columns.get(field.name, pa.nulls(len(rows), field.type)) for field in ANNOTATIONS],
        ANNOTATIONS,
    )


def _code(label: Any, codes: Mapping[str, int]) -> int:
    label = written(label)
    return codes.get(label, -1) if isinstance(label, str) else -1


def _integers(values: Iterator[int]) -> np.ndarray:
    return np.fromiter(values, np.int64)


def _add(
    judged: dict[tuple[str, str, str | None], _Judgement],
    item: str,
    named: str,
    items: Items,
    batch: str,
    file: UPath,
    row: Row,
    spec: VerticalSpec,
) -> None:
    """Adds what a row says; raises BreachError where it breaks the standard."""
    values = dict(row.values)
    annotator, kind = annotator_of(values), kind_of(values)
    if row.rule is not None:
        raise BreachError(row.rule, "row", str(row.reason))
    if item not in items.known:
        raise BreachError("unknown_item", "row", "no document has this id")
    if not annotator:
        raise BreachError("missing_annotator", "row", "annotator_id is empty, or no name")
    check_task(values, spec)
    text = items.text(item, named)
    asks = spec.task.kind == "question_answering"
    question = read_question(values, spec) if asks else None
    by_span = spec.task.has_spans and is_one_span(values)
    key = (item, annotator, question[0] if question else None)
    before = judged.get(key)
    try:
        check_kind(kind)
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
            kind=kind,
            batch=batch,
            question=question,
            text=text,
            created_at=values.get("created_at"),
            lead_time_s=values.get("lead_time_s"),
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
