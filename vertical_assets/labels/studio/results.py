"""Label Studio's results: what an annotation on the server or in its export says, as a row.

The result format is the one of the server's documentation ("Label Studio JSON format"): an
annotation has `result`, a list of regions, each with `from_name`, `type` and `value`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vertical_assets.corpus.reading.sources import Row
from vertical_assets.spec import TaskKind

QUESTION, QUESTION_TYPE, REASON = (
    "question",
    "question_type",
    "reason",
)  # controls beside the target
ASIDE = (QUESTION, QUESTION_TYPE, REASON)
SPAN_TYPES = ("labels", "hypertextlabels", "paragraphlabels")
CONTEXT = 32  # characters before and after a span that tell equal quotes apart
SKIPPED, DISCARDED = "skipped", "review_rejected"  # rules by which annotations are set aside


def rows_of_task(
    task: Mapping[str, Any], kind: TaskKind, users: Mapping[int, str], place: str
) -> Iterator[Row]:
    """What everybody says of a task, a row each.

    A task that somebody skipped, and an annotation that a reviewer rejected, are rows with a rule.

    Args:
        task: with `data`, and `annotations` as exported or as the server has them.
        kind: of the label standard's task.
        users: e-mails by number, where the annotations have numbers only.
        place: of the task, for messages.
    """
    for annotation in task.get("annotations") or task.get("completions") or []:
        row = {
            **item_of(task),
            "annotator_id": _name(annotation.get("completed_by"), users),
            "annotator_kind": "human",
            "created_at": annotation.get("updated_at") or annotation.get("created_at"),
            "lead_time_s": annotation.get("lead_time"),
            "label_studio": {"task": task.get("id"), "annotation": annotation.get("id")},
            **({"ground_truth": True} if annotation.get("ground_truth") else {}),
            **target_of(annotation.get("result") or [], task.get("data") or {}, kind),
        }
        where = f"{place}, annotation {annotation.get('id')}"
        if annotation.get("was_cancelled"):
            yield Row(where, row, SKIPPED, f"{where}: {row['annotator_id']} skipped this task")
        elif _refused(annotation):
            yield Row(where, row, DISCARDED, f"{where}: a reviewer rejected this annotation")
        else:
            yield Row(where, row)


def item_of(task: Mapping[str, Any]) -> dict[str, Any]:
    """How a task names its item: `item_id`, or `source` and `id` as the source had them."""
    for place in (task.get("data") or {}, task.get("meta") or {}):
        if place.get("item_id"):
            return {"item_id": place["item_id"]}
        if place.get("source") and place.get("id") is not None:
            return {"source": place["source"], "id": place["id"]}
    return {}


def target_of(
    result: Sequence[Mapping[str, Any]], data: Mapping[str, Any], kind: TaskKind
) -> dict[str, Any]:
    """A result as the fields of a row that the label standard reads.

    Args:
        result: regions of an annotation.
        data: of its task, for the text and the question.
        kind: of the label standard's task.
    """
    aside = {
        each.get("from_name"): each.get("value") or {}
        for each in result
        if each.get("from_name") in ASIDE
    }
    regions = [each for each in result if each.get("from_name") not in ASIDE]
    row: dict[str, Any] = {}
    if kind == "multi_label":
        row["labels"] = list(dict.fromkeys(_choices(regions)))
    elif kind == "classification":
        row["label"] = _one(_choices(regions) or _numbers(regions))
    elif kind == "regression":
        row["value"] = _one(_numbers(regions))
    else:
        row["spans"] = _spans(regions, str(data.get("text") or ""))
    if kind == "question_answering":
        asked = _one(_texts(aside.get(QUESTION, {}))) or data.get(QUESTION)
        type_ = _one(_listed(aside.get(QUESTION_TYPE, {}), "choices")) or data.get(QUESTION_TYPE)
        row |= {QUESTION: asked, **({QUESTION_TYPE: type_} if type_ else {})}
    if REASON in aside:
        row[REASON] = " ".join(_texts(aside[REASON]))
    return row


def code_points(start: int, end: int, quote: str | None, text: str) -> tuple[int, int]:
    """Places as Unicode characters; some tools count UTF-16 units, in which rare ones are two.

    Which of the two it was shows by the quote; without one, or where neither fits, as given.
    """
    if not quote or text[start:end] == quote:
        return start, end
    units = text.encode("utf-16-le", "surrogatepass")
    before = units[: 2 * start].decode("utf-16-le", "replace")
    inside = units[2 * start : 2 * end].decode("utf-16-le", "replace")
    return (len(before), len(before) + len(inside)) if inside == quote else (start, end)


def _spans(regions: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    spans = []
    for region in regions:
        value = region.get("value") or {}
        if region.get("type") in SPAN_TYPES:
            at = value.get("globalOffsets") or value
            names = value.get(region["type"]) or value.get("labels") or [None]
            spans += [
                quoted(at.get("start"), at.get("end"), name, value.get("text"), text)
                for name in names
            ]
        elif region.get("type") == "textarea":
            spans += [{"quote": said} for said in _texts(value)]
    return spans


def quoted(start: Any, end: Any, label: Any, quote: str | None, text: str) -> dict[str, Any]:
    """A span with what it covers and what stands around it (see `labels.anchoring`)."""
    span: dict[str, Any] = {"start": start, "end": end, "label": label, "quote": quote}
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= 2 * len(text):
        start, end = code_points(start, end, quote, text)
        span |= {"start": start, "end": end, "quote": quote or text[start:end] or None}
        if text[start:end] == span["quote"]:
            span["prefix"] = text[max(0, start - CONTEXT) : start]
            span["suffix"] = text[end : end + CONTEXT]
    return {name: value for name, value in span.items() if value not in (None, "")}


def _choices(regions: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        choice
        for region in regions
        if region.get("type") == "choices"
        for choice in _listed(region.get("value") or {}, "choices")
    ]


def _numbers(regions: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [
        region["value"][region["type"]]
        for region in regions
        if region.get("type") in ("number", "rating") and region["type"] in (region["value"] or {})
    ]


def _texts(value: Mapping[str, Any]) -> list[str]:
    return [str(said).strip() for said in _listed(value, "text") if str(said).strip()]


def _listed(value: Mapping[str, Any], name: str) -> list[Any]:
    said = value.get(name)
    return said if isinstance(said, list) else [] if said is None else [said]


def _one(said: Sequence[Any]) -> Any:
    """The only value; several make no single label, which the standard then refuses as they are."""
    return said[0] if len(said) == 1 else list(said) if said else None


def _name(by: Any, users: Mapping[int, str]) -> str:
    if isinstance(by, Mapping):
        by = by.get("email") or by.get("username") or by.get("id")
    return users.get(by, str(by)) if isinstance(by, int) else str(by or "")


def _refused(annotation: Mapping[str, Any]) -> bool:
    """Whether the last review says no; the community edition has no reviews."""
    reviews = annotation.get("reviews") or []
    return bool(reviews) and reviews[-1].get("accepted") is False
