"""Rules: a document is valid, or it is quarantined with rule, field, value and reason (D4, D5)."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.spec import Rules
from vertical_assets.store.contracts import DOCUMENTS, QUARANTINE

SHOWN_CHARS = 200


def apply_rules(batch: pa.RecordBatch, rules: Rules) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Parts a batch of RAW_DOCUMENTS into (DOCUMENTS, QUARANTINE); the first broken rule counts.

    No row is lost: `len(batch) == len(valid) + len(quarantined)`.
    """
    length = pc.utf8_length(batch["text"])
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(batch["text"])), 0)
    verdicts: list[tuple[pa.Array, str, str, str]] = [
        (blank, "blank", "text", "the text is blank"),
        (
            pc.less(length, rules.min_chars),
            "too_short",
            "text",
            f"fewer than {rules.min_chars} characters",
        ),
        (
            pc.greater(length, rules.max_chars),
            "too_long",
            "text",
            f"more than {rules.max_chars} characters",
        ),
    ]
    verdicts += [
        (_missing(batch["meta"], name), "required", name, f"meta has no {name!r}, or it is blank")
        for name in rules.required
    ]
    size = batch.num_rows
    rule, reason = batch["rule"], batch["reason"]  # what reading found comes first
    field = pa.repeat("text", size)
    for broken, name, column, words in verdicts:
        first = pc.and_(broken, pc.is_null(rule))
        rule = pc.if_else(first, name, rule)
        field = pc.if_else(first, column, field)
        reason = pc.if_else(first, words, reason)
    rejected = pc.is_valid(rule)
    quarantine = pa.RecordBatch.from_arrays(
        [
            batch["doc_id"],
            batch["source"],
            batch["origin"],
            rule,
            field,
            pc.utf8_slice_codeunits(batch["text"], 0, SHOWN_CHARS),
            reason,
        ],
        names=QUARANTINE.names,
    ).filter(rejected)
    valid = batch.select(DOCUMENTS.names).filter(pc.invert(rejected))
    return valid, quarantine.cast(QUARANTINE)


def _missing(meta: pa.Array, name: str) -> pa.Array:
    return pa.array(
        [not str(json.loads(entry.as_py()).get(name) or "").strip() for entry in meta], pa.bool_()
    )


def source_diversity(documents: pa.Table) -> list[dict[str, Any]]:
    """Rows, characters and share of the rows by source, kind and language (SPEC D2)."""
    measured = documents.select(["source", "kind", "language"]).append_column(
        "characters", pc.utf8_length(documents["text"])
    )
    grouped = measured.group_by(["source", "kind", "language"]).aggregate(
        [([], "count_all"), ("characters", "sum")]
    )
    return [
        {
            "source": row["source"],
            "kind": row["kind"],
            "language": row["language"],
            "rows": row["count_all"],
            "characters": row["characters_sum"],
            "share": row["count_all"] / documents.num_rows,
        }
        for row in grouped.sort_by("source").to_pylist()
    ]
