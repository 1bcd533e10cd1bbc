"""The queue: what a person has to decide, as a table and as a file to fill in (SPEC D8)."""

import json
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.labels.adjudication.verdicts import (
    ITEM,
    REFUSED,
    batches_with,
    counted_votes,
    disputed,
    in_batches,
    keys_of,
    not_alike,
)
from vertical_assets.labels.targets import COLUMN
from vertical_assets.labels.votes import by_people, latest
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.atomic import locked, replace
from vertical_assets.store.contracts import ADJUDICATION

FOLDER, FILE = "adjudication", "queue.jsonl"


def queue_of(
    annotations: pa.Table,
    verdicts: pa.Table,
    decided: pa.Table,
    texts: dict[str, str],
    spec: VerticalSpec,
) -> pa.Table:
    """ADJUDICATION: disputed items that nobody has decided yet, the most disputed first.

    Batches that can't be judged, since too few items have two annotators, wait for a second
    annotator rather than for decisions.

    Args:
        annotations: ANNOTATIONS of all batches.
        verdicts: of `judge`.
        decided: DECISIONS that stand.
        texts: item -> text; items that left the corpus are left out.
        spec: sections `agreement`, `task`, `seed`.
    """
    counted = latest(by_people(annotations))
    judged = verdicts.filter(pc.is_valid(verdicts["alpha"]))
    made, names = keys_of(decided), defaultdict(set)
    for row in counted.group_by([*ITEM, "batch"]).aggregate([]).to_pylist():
        names[row["item_id"], row["question"]].add(row["batch"])
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    disputes = [
        ("refused", not_alike(in_batches(counted, [batch]), spec))
        for batch in batches_with(judged, [REFUSED])
    ]
    split = disputed(counted_votes(annotations, verdicts), spec)
    for dispute, table in [*disputes, ("split", split)]:
        for row in table.to_pylist():
            key = row["item_id"], row["question"]
            if key in made or row["item_id"] not in texts:
                continue
            rows.setdefault(
                key,
                {
                    **{name: row[name] for name in ("item_id", "question", "votes", "confidence")},
                    "text": texts[row["item_id"]],
                    "task": spec.task.name,
                    "dispute": dispute,
                    "batches": ",".join(sorted(names[key])),
                },
            )
    ordered = sorted(
        rows.values(), key=lambda row: (row["confidence"], row["item_id"], row["question"] or "")
    )
    return pa.Table.from_pylist(ordered, ADJUDICATION)


def export_queue(queue: pa.Table, data: UPath, spec: VerticalSpec) -> UPath:
    """Writes the queue as JSON lines; filled in and saved beside it as `decisions_<name>.jsonl`
    they are decisions. What was filled in in the queue itself is saved so first.

    Args:
        queue: ADJUDICATION.
        data: the vertical's drop folder.
        spec: section `task`.
    """
    blank = {COLUMN[spec.task.kind]: None, "decided_by": "", "decided_at": "", "reason": ""}
    lines = []
    for row in queue.to_pylist():
        shown = {name: value for name, value in row.items() if value is not None}
        shown["votes"] = json.loads(row["votes"])
        lines.append(json.dumps({**shown, **blank}, ensure_ascii=False) + "\n")
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if filled := _filled(folder / FILE, COLUMN[spec.task.kind]):
            name = f"decisions_queue-{xxhash.xxh3_64_hexdigest(filled)}.jsonl"
            replace(folder / name, filled)
        replace(folder / FILE, "".join(lines).encode())
    return folder / FILE


def _filled(file: UPath, column: str) -> bytes:
    """The lines of a queue in which somebody wrote; a line that is broken is one of them."""
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return b""

    def is_filled(line: bytes) -> bool:
        try:
            row = json.loads(line)
            return any(row[name] not in (None, "") for name in (column, "decided_by", "reason"))
        except (ValueError, KeyError, TypeError):
            return bool(line.strip())

    return b"".join(line for line in lines if is_filled(line))
