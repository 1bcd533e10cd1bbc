"""Decisions: what a person said of a disputed item, by name, with time and reason (SPEC D8).

They come as files below `data/<vertical>/` that `agreement.decisions` names: rows that have the
item as a label file has it, the target by the label standard, and `decided_by`, `decided_at`,
`reason`. `adjudication/queue.jsonl` holds such rows with these fields open. Of several decisions on
one item the latest stands; the others are kept. Backups of editors decide nothing.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from vertical_assets.corpus.reading.sources import SourceError, drop_folder, files_of, fingerprint
from vertical_assets.labels.anchoring import BreachError
from vertical_assets.labels.files import is_finished, people, rows_of
from vertical_assets.labels.items import Items, item_named, names_item
from vertical_assets.labels.standard import SPAN_FIELDS, check_task, read_question, read_target
from vertical_assets.labels.statements import moment, rejected
from vertical_assets.labels.targets import COLUMN, to_cell
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import QUARANTINE
from vertical_assets.store.label_contracts import DECISIONS


@dataclass(frozen=True)
class Decided:
    """What people decided, rows that can't be used, and rows left open or about forgotten items."""

    decisions: pa.Table
    rejected: pa.Table
    open: int
    forgotten: int
    read: int

    @property
    def conserved(self) -> bool:
        """Whether every row that was read is accounted for."""
        kept = self.decisions.num_rows + self.rejected.num_rows
        return self.read == kept + self.open + self.forgotten


def decision_fingerprint(spec: VerticalSpec) -> str:
    """Digest of the files of decisions; "missing" where there are none."""
    try:
        return fingerprint(people(spec.agreement.decisions), drop_folder(spec.name))
    except SourceError:
        return "missing"


def read_decisions(spec: VerticalSpec, items: Items) -> Decided:
    """Reads every file of decisions; a row without name, time or reason is rejected.

    Args:
        spec: sections `agreement`, `task`, `clean`.
        items: documents that can be decided on.
    """
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    unsaid = forgotten = read = 0
    files = []
    with contextlib.suppress(SourceError):  # nobody has decided anything
        files = files_of(people(spec.agreement.decisions), drop_folder(spec.name))
    for file in filter(is_finished, files):
        for row in rows_of(file, spec):
            read += 1
            named = item_named(row.values)
            item = items.kept.get(named, named)
            if named in items.gone:
                forgotten += 1
            elif row.rule is None and names_item(row.values) and _is_open(row.values, spec):
                unsaid += 1
            else:
                try:
                    if row.rule is not None:
                        raise BreachError(row.rule, "row", str(row.reason))
                    decided = _decision(row.values, item, named, items, spec)
                    good.append({**decided, "origin": row.place})
                except BreachError as breach:
                    bad.append(rejected(item, file, row, breach))
    order = sorted(range(len(good)), key=lambda at: (good[at]["decided_at"], at))
    last = {(good[at]["item_id"], good[at]["question"]): at for at in order}
    for at, row_ in enumerate(good):
        row_["stands"] = last[row_["item_id"], row_["question"]] == at
    return Decided(
        pa.Table.from_pylist(good, DECISIONS),
        pa.Table.from_pylist(bad, QUARANTINE),
        unsaid,
        forgotten,
        read,
    )


def standing(decisions: pa.Table) -> pa.Table:
    """The decisions that count: one an item, or question."""
    return decisions.filter(decisions["stands"])


def _is_open(values: Mapping[str, Any], spec: VerticalSpec) -> bool:
    """Whether a row of the queue was left as it was exported."""
    names = (COLUMN[spec.task.kind], *(SPAN_FIELDS if spec.task.has_spans else ()))
    said = (*names, "decided_by", "decided_at", "reason")
    return all(values.get(name) in (None, "") for name in said)


def _decision(
    values: Mapping[str, Any], item: str, named: str, items: Items, spec: VerticalSpec
) -> dict[str, Any]:
    if item not in items.known:
        raise BreachError("unknown_item", "row", "no document has this id")
    for field, what in (("decided_by", "who decided"), ("reason", "why")):
        if not str(values.get(field) or "").strip():
            raise BreachError(f"missing_{field}", field, f"'{field}' is empty; say {what}")
    at = str(values.get("decided_at") or "")
    try:
        datetime.fromisoformat(at)
    except ValueError:
        raise BreachError(
            "missing_decided_at",
            "decided_at",
            f"'decided_at' is {at!r}; give the time as ISO 8601, e.g. 2024-05-01T12:00:00+00:00",
        ) from None
    check_task(values, spec)
    asks = spec.task.kind == "question_answering"
    question, type_ = read_question(values, spec) if asks else (None, None)
    target = read_target(values, items.text(item, named), spec)
    return {
        "item_id": item,
        "task": spec.task.name,
        "label": type_,
        COLUMN[spec.task.kind]: to_cell(target, spec.task.kind),
        "question": question,
        "decided_by": str(values["decided_by"]).strip(),
        "decided_at": moment(at),
        "reason": str(values["reason"]).strip(),
    }
