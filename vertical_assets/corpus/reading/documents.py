"""Documents: blocks of rows as a source has them become batches of RAW_DOCUMENTS.

Columns are built as lists, without a mapping per document: several 100,000 short rows a second.
"""

import json
from datetime import date, time
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import xxhash

from vertical_assets.spec import Source
from vertical_assets.store.contracts import RAW_DOCUMENTS

_COLUMNS = ("id", "title", "text", "language", "author_id", "published_at")
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


class Block(NamedTuple):
    """Rows read together: where each stands, its values, and what is wrong with some.

    `broken` maps a row's index to the rule that it breaks and the reason in words.
    """

    places: list[str]
    rows: list[dict[str, Any]]
    broken: dict[int, tuple[str, str]]


def document_id(source: str, native_id: str) -> str:
    """doc_id: xxh3-128 of source and native id, in hexadecimal."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{native_id}".encode("utf-8", "replace"))


def documents(block: Block, source: Source, language: str) -> pa.RecordBatch:
    """RAW_DOCUMENTS of a block, row by row; the mappings of its rows are used up.

    A row without an id, or with an empty one, has its place as native id. What is no column goes
    to `meta`: JSON with sorted keys, dates as ISO strings, decimals as numbers.

    Args:
        block: rows whose fields are named as `source.fields` says, with dots where nested.
        source: its declaration.
        language: of documents where neither row nor source says.
    """
    places, rows, broken = block.places, block.rows, dict(block.broken)
    size, default = len(rows), source.language or language
    values = {name: _column(rows, source.fields.get(name, name)) for name in _COLUMNS}
    for row in rows if source.constants else ():
        row.update(source.constants)
    text, ids = values["text"], values["id"]
    if None in text:
        wanted = source.fields.get("text", "text")
        for index in [i for i in range(size) if text[i] is None]:
            text[index] = ""
            reason = f"no field {wanted!r}; name the right one under 'fields.text'"
            broken.setdefault(index, ("missing_text", f"{places[index]}: {reason}"))
    if not set(map(type, ids)) <= {str, type(None)}:
        ids = _texts(ids).to_pylist()
    natives = zip(ids, places, strict=True)
    verdicts = [broken.get(i, (None, None)) for i in range(size)] if broken else []
    columns = {
        "doc_id": [document_id(source.name, native or place) for native, place in natives],
        "source": pa.repeat(source.name, size),
        "kind": pa.repeat(source.kind, size),
        "title": _texts(_present(values["title"])),
        "text": _texts(text),
        "language": _texts([value or default for value in values["language"]]),
        "author_id": _texts(_present(values["author_id"])),
        "published_at": _texts(_present(values["published_at"])),
        "licence": pa.repeat(source.licence, size),
        "meta": _texts([to_json(row) for row in rows]),
        "origin": places,
        "rule": [rule for rule, _ in verdicts] or pa.nulls(size, pa.string()),
        "reason": [reason for _, reason in verdicts] or pa.nulls(size, pa.string()),
    }
    return pa.record_batch(columns, schema=RAW_DOCUMENTS)


def _column(rows: list[dict[str, Any]], field: str) -> list[Any]:
    if "." in field:
        return [_nested(row, field) for row in rows]
    return [row.pop(field, None) for row in rows]


def _nested(row: dict[str, Any], field: str) -> Any:
    """Takes `a.b` out of {"a": {"b": ...}}; a field whose own name has the dot comes first."""
    if field in row:
        return row.pop(field)
    *outer, last = field.split(".")
    inner: Any = row
    for name in outer:
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner.pop(last, None) if isinstance(inner, dict) else None


def _present(values: list[Any]) -> list[Any]:
    """Empty strings, all that a CSV file can say, are nulls."""
    return [None if value == "" else value for value in values] if "" in values else values


def _texts(values: list[Any]) -> pa.Array:
    """Values as strings, other types in JSON's spelling."""
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([None if v is None else _text(v) for v in values], pa.string())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        json_ = to_json(value)
        value = orjson.loads(json_) if json_.startswith('"') else json_
    return value.encode("utf-8", "replace").decode()


def to_json(value: Any) -> str:
    """JSON with sorted keys; the same value always gives the same string."""
    try:
        return orjson.dumps(value, _plain, _OPTIONS).decode()
    except TypeError:  # integers of more than 64 bits, lone surrogates
        text = json.dumps(value, default=_plain, sort_keys=True, ensure_ascii=False)
        return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == int(value)
        return int(value) if whole else float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)
