"""Exports of annotation tools, told apart by their looks, as the rows that labels are read from.

| tool | file | a record |
|---|---|---|
| Label Studio | JSON | a task: `data`, `annotations` with `result` and `completed_by` |
| doccano | JSON or JSON lines | a text: `label`, a list of labels or of spans; or `entities` |
| Argilla | JSON | `fields`, `metadata`, `responses` by question, or by user with `status` |

A row is what one annotator says of one item. What can't be one, since it was skipped, is a draft or
names no item, is a row with a rule: as many come out as annotations are in the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from upath import UPath

from vertical_assets.corpus.reading.sources import Row
from vertical_assets.labels.studio.results import quoted, rows_of_task
from vertical_assets.spec import VerticalSpec

Record = Mapping[str, Any]
TAKEN = ("submitted", "completed", None)  # status of an Argilla response that counts
OFFSETS = ("start_offset", "end_offset")


def rows_of(file: UPath, spec: VerticalSpec) -> Iterator[Row] | None:
    """Rows of an export; None where the file is none of these, but rows of its own, or unreadable.

    Args:
        file: `.json`, `.jsonl` or `.ndjson`.
        spec: section `task`.
    """
    suffix = file.suffix.lower()
    if suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    try:
        data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
        first = orjson.loads(data.split(b"\n", 1)[0]) if suffix != ".json" else None
        if isinstance(first, dict) and not _reader(first):
            return None
        places, records = _records(data, lines=isinstance(first, dict))
    except orjson.JSONDecodeError:
        return None
    read = next((found for each in records if (found := _reader(each))), None)
    return read and _rows(file, places, records, spec)


def _records(data: bytes, lines: bool) -> tuple[list[str], list[Any]]:
    if lines:
        numbered = [(n, line) for n, line in enumerate(data.splitlines(), 1) if line.strip()]
        return [str(n) for n, _ in numbered], [_object(line) for _, line in numbered]
    whole = orjson.loads(data)
    if isinstance(whole, dict):  # Argilla's server answers a page of records
        whole = whole.get("items", [whole])
    records = whole if isinstance(whole, list) else []
    return [f"record {n}" for n in range(1, len(records) + 1)], records


def _object(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return line.decode("utf-8", "replace")


def _rows(file: UPath, places: list[str], records: list[Any], spec: VerticalSpec) -> Iterator[Row]:
    for number, record in zip(places, records, strict=True):
        place = f"{file.name}:{number}"
        read = _reader(record)
        if read is None:
            row = record if isinstance(record, dict) else {"text": str(record)[:200]}
            yield Row(place, row, "broken_row", f"{place}: no record like the others of this file")
            continue
        try:
            found = list(read(record, spec, file, place))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = f"not as such a file is written ({type(error).__name__}: {error})"
            yield Row(place, record, "broken_row", f"{place}: {reason}")
            continue
        for row in found:
            if row.rule is None and not _names_item(row.values):
                yield row._replace(
                    rule="missing_item",
                    reason=f"{row.place}: names no item; put 'item_id', or 'source' and 'id', into "
                    "the data of the tasks that you import",
                )
            else:
                yield row


def _names_item(values: Record) -> bool:
    return bool(values.get("item_id") or values.get("source"))


def _reader(record: Any) -> Any:
    """The function that reads records that look like this."""
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("data"), dict) and (
        "annotations" in record or "completions" in record
    ):
        return _label_studio
    if isinstance(record.get("fields"), dict) and isinstance(record.get("responses"), dict | list):
        return _argilla
    has_text = "text" in record or "data" in record
    if has_text and (isinstance(record.get("label"), list) or _has_offsets(record)):
        return _doccano
    return None


def _has_offsets(record: Record) -> bool:
    spans = record.get("entities", record.get("annotations"))
    return (
        isinstance(spans, list)
        and ("id" in record or bool(spans))
        and all(
            isinstance(span, dict) and ({*OFFSETS} <= span.keys() or "user" in span)
            for span in spans
        )
    )


def _label_studio(record: Record, spec: VerticalSpec, file: UPath, place: str) -> Iterator[Row]:
    where = f"{place}, task {record.get('id')}"
    yield from rows_of_task(record, spec.task.kind, {}, where)


def _doccano(record: Record, spec: VerticalSpec, file: UPath, place: str) -> Iterator[Row]:
    """doccano writes a file per annotator, under the user's name, or one for all who share theirs;
    `id` is its own number, an item is named by what was imported beside the text.

    Its first version had `annotations`, each with the number of its user.
    """
    meta = record["meta"] if isinstance(record.get("meta"), dict) else {}
    known = {**record, **meta}
    item = {name: known[name] for name in ("item_id", "source") if known.get(name)}
    if "source" in item and "id" in meta:
        item["id"] = meta["id"]
    by_user: dict[Any, list[Any]] = {}
    if "annotations" in record:
        for each in record["annotations"]:
            by_user.setdefault(each.get("user"), []).append(each)
    else:
        said = record.get("entities") or record.get("label") or []
        by_user[known.get("user") or known.get("annotator_id") or file.stem] = said
    text = str(record.get("text") or record.get("data") or "")
    for user, said in by_user.items():
        row = {
            **item,
            "annotator_id": str(user),
            "annotator_kind": "human",
            **_target(spec, [_doccano_label(each, text) for each in said]),
        }
        comments = record.get("Comments") or record.get("comments")
        if comments:
            row["comment"] = "; ".join(
                str(each.get("comment", each) if isinstance(each, dict) else each)
                for each in comments
            )
        if spec.task.kind == "question_answering":
            row["question"] = known.get("question")
            row |= {"question_type": known["question_type"]} if "question_type" in known else {}
        yield Row(place, row)


def _doccano_label(said: Any, text: str) -> Any:
    """A label, or a span as its start, end and label, or by name."""
    if isinstance(said, list) and len(said) == 3:
        start, end, label = said
        return quoted(start, end, label, None, text)
    if isinstance(said, dict) and {*OFFSETS} <= said.keys():
        return quoted(said["start_offset"], said["end_offset"], said.get("label"), None, text)
    return said.get("label", said.get("text")) if isinstance(said, dict) else said


def _target(spec: VerticalSpec, said: list[Any]) -> dict[str, Any]:
    """Labels of an annotator as the fields that the standard reads."""
    if spec.task.has_spans:
        # In question answering a text is an answer, which is looked for.
        return {"spans": [{"quote": each} if isinstance(each, str) else each for each in said]}
    if spec.task.kind == "multi_label":
        return {"labels": said}
    name = "value" if spec.task.kind == "regression" else "label"
    return {name: said[0] if len(said) == 1 else said or None}


def _argilla(record: Record, spec: VerticalSpec, file: UPath, place: str) -> Iterator[Row]:
    """`responses` are, by question, a list of `value` and `user_id` (Argilla 2, `to_json`), or a
    list of `user_id`, `values` by question, and `status` (its server, and Argilla 1).
    """
    metadata = record.get("metadata") or {}
    known = {**record["fields"], **metadata}
    item = {"item_id": known.get("item_id") or record.get("id") or record.get("external_id")}
    if not known.get("item_id") and known.get("source") and known.get("id") is not None:
        item = {"source": known["source"], "id": known["id"]}
    for user, (status, values, at) in _answers(record["responses"]).items():
        where = f"{place}, user {user}"
        row: dict[str, Any] = {
            **item,
            "annotator_id": user,
            "annotator_kind": "human",
            "created_at": at,
        }
        if spec.task.kind == "question_answering":
            row["question"] = known.get("question")
            type_ = values.get("question_type") or known.get("question_type")
            row |= {"question_type": type_} if type_ else {}
        if status not in TAKEN:
            yield Row(where, row, str(status), f"{where}: the response is {status}, not submitted")
            continue
        question = _question(values, spec)
        if question is None:
            reason = f"{where}: answers {', '.join(values) or 'nothing'}; which is the label? Name "
            yield Row(where, row, "unknown_question", reason + f"the question {spec.task.name!r}")
            continue
        yield Row(where, row | _argilla_target(values[question], spec, known))


def _answers(responses: Any) -> dict[str, tuple[Any, dict[str, Any], Any]]:
    """user -> status, values by question, time."""
    found: dict[str, tuple[Any, dict[str, Any], Any]] = {}
    if isinstance(responses, dict):
        for question, answers in responses.items():
            for answer in answers:
                before = found.setdefault(str(answer["user_id"]), (answer.get("status"), {}, None))
                before[1][question] = answer["value"]
        return found
    for each in responses:
        values = {name: said.get("value") for name, said in (each.get("values") or {}).items()}
        at = each.get("updated_at") or each.get("inserted_at")
        found[str(each.get("user_id"))] = (each.get("status"), values, at)
    return found


def _question(values: Mapping[str, Any], spec: VerticalSpec) -> str | None:
    """The question whose answer is the label: of the task's or a usual name, or the only one."""
    usual = (spec.task.name, "label", "labels", "spans", "value", "rating", "answer")
    asked = [name for name in values if name != "question_type"]
    return next((name for name in usual if name in values), asked[0] if len(asked) == 1 else None)


def _argilla_target(value: Any, spec: VerticalSpec, known: Record) -> dict[str, Any]:
    if not spec.task.has_spans:
        said = value if isinstance(value, list) else [value]
        return _target(spec, [str(v) for v in said] if spec.labels else said)
    text = str(known.get("text") or "")
    spans = value if isinstance(value, list) else [value]
    return _target(
        spec,
        [
            quoted(each.get("start"), each.get("end"), each.get("label"), each.get("text"), text)
            if isinstance(each, dict)
            else each
            for each in spans
        ],
    )
