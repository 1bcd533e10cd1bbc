"""Statements: rows of people's labels as rows of ANNOTATIONS, or of QUARANTINE with the reason."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from upath import UPath

from vertical_assets.corpus.reading.sources import Row
from vertical_assets.labels.anchoring import BreachError, ItemText
from vertical_assets.labels.standard import written
from vertical_assets.labels.targets import COLUMN, Target, to_cell
from vertical_assets.labels.votes import ANNOTATOR_KINDS
from vertical_assets.spec import VerticalSpec


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
    lead_time_s: Any = None,
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
        "created_at": moment(created_at),
        "lead_time_s": seconds(lead_time_s),
    }


def annotator_of(values: Mapping[str, Any]) -> str:
    """Who a row is of; empty where it does not say. A name is one person's, however it is spaced,
    or written as a number.
    """
    said = written(values.get("annotator_id"))
    return " ".join(said.split()) if isinstance(said, str) else ""


def kind_of(values: Mapping[str, Any]) -> str:
    """What says a row; a person where it does not tell."""
    return str(values.get("annotator_kind") or "human")


def check_kind(kind: str) -> None:
    """Raises BreachError where that is none of ANNOTATOR_KINDS."""
    if kind not in ANNOTATOR_KINDS:
        raise BreachError(
            "unknown_kind",
            "annotator_kind",
            f"{kind!r} is no kind of annotator; there are: {', '.join(ANNOTATOR_KINDS)}",
        )


def moment(said: Any) -> str | None:
    """A time as ISO 8601 in UTC, so that times compare as texts; what is no time stays as it is."""
    if said in (None, ""):
        return None
    try:
        time = datetime.fromisoformat(str(said))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        return str(said)


def seconds(said: Any) -> float | None:
    """How long something took; None where that is no number of seconds."""
    if said is None:
        return None
    try:
        found = math.nan if isinstance(said, bool) else float(said)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def rejected(item: str, file: UPath, row: Row, breach: BreachError) -> dict[str, Any]:
    """A row of QUARANTINE: what breaks the label standard, and where it stands."""
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
