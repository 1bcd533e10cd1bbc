"""Sources: files become documents; what can't be one stays in the table with the reason (SPEC D2).

A row is never dropped here. One that can't be decoded or parsed, and one whose id was seen
before, keeps its place with `rule` and `reason` filled; `valid_corpus` moves it to `quarantine`.
"""

import codecs
import csv
import importlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from upath import UPath

from vertical_assets.spec import Source, VerticalSpec
from vertical_assets.store.contracts import RAW_DOCUMENTS

ROWS_PER_BATCH = 8192
SAMPLE_BYTES = 1 << 20
# Chinese encodings met in practice; charset-normalizer chooses among them.
LEGACY_ENCODINGS = ["gb18030", "big5", "utf_16", "utf_8"]
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "lines",
}
_COLUMNS = ("title", "text", "language", "author_id", "published_at")


class SourceError(Exception):
    """A source that can't be read at all; the message names it and the remedy."""


@dataclass(frozen=True)
class Row:
    """One row of a file: its values, or the rule that it breaks."""

    place: str
    values: Mapping[str, Any]
    rule: str | None = None
    reason: str | None = None


def files_of(source: Source, data: UPath) -> list[UPath]:
    """The source's files, sorted by name.

    Args:
        source: its declaration.
        data: folder that a relative `path` starts from, `data/<vertical>/`.

    Raises:
        SourceError: a package is not installed, or nothing matches.
    """
    if source.package is not None:
        if find_spec(source.package) is None:
            raise SourceError(
                f"source {source.name!r}: package {source.package!r} is not installed; "
                "install it (the extra 'demo' holds the packages of the shipped verticals)"
            )
        root = UPath(str(resources.files(source.package)))
        pattern = str(source.resource)
    else:
        path = UPath(str(source.path))
        if not path.is_absolute() and "://" not in str(source.path):
            path = data / str(source.path)
        root, pattern = path.parent, path.name
    files = sorted(root.glob(pattern), key=str) if "*" in pattern else [root / pattern]
    if not any(file.exists() for file in files):
        raise SourceError(
            f"source {source.name!r}: no file at {root / pattern}; "
            f"put it there or correct the source's {'resource' if source.package else 'path'}"
        )
    return files


def fingerprint(source: Source, data: UPath) -> str:
    """Digest of the names and bytes of a source's files: what `raw_corpus` depends on."""
    digest = xxhash.xxh3_128()
    for file in files_of(source, data):
        digest.update(file.name.encode())
        with file.open("rb") as opened:
            while chunk := opened.read(SAMPLE_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def fingerprints(spec: VerticalSpec) -> dict[str, str]:
    """Fingerprint of every source; "missing" for one that has no files at present."""
    found = {}
    for source in spec.sources:
        try:
            found[source.name] = fingerprint(source, drop_folder(spec.name))
        except SourceError:
            found[source.name] = "missing"
    return found


def drop_folder(vertical: str) -> UPath:
    """Where people put a vertical's files: `$VERTICAL_DATA/<vertical>`, by default under `data`."""
    return UPath(os.environ.get("VERTICAL_DATA", "data")) / vertical


class Counted:
    """Batches of RAW_DOCUMENTS, counted as they pass."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.batches = batches
        self.rows = self.rejected = self.characters = 0
        self.first_reason: str | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            reasons = batch["reason"].drop_null()
            self.rows += batch.num_rows
            self.rejected += len(reasons)
            self.characters += pc.sum(pc.utf8_length(batch["text"])).as_py() or 0
            if self.first_reason is None and len(reasons):
                self.first_reason = reasons[0].as_py()
            yield batch


def read_source(source: Source, data: UPath, language: str) -> Iterator[pa.RecordBatch]:
    """Documents of a source, in batches of RAW_DOCUMENTS.

    Args:
        source: its declaration.
        data: folder that a relative `path` starts from.
        language: of documents whose source does not say.

    Raises:
        SourceError: nothing can be read at all.
    """
    seen: set[str] = set()
    rows = (row for file in files_of(source, data) for row in read_file(file, source))
    while chunk := list(islice(rows, ROWS_PER_BATCH)):
        documents = [_document(row, source, language, seen) for row in chunk]
        yield pa.RecordBatch.from_pylist(documents, RAW_DOCUMENTS)


def read_file(file: UPath, source: Source) -> Iterator[Row]:
    """Rows of one file; a file that is empty or can't be opened is one row that says so."""
    format_ = source.format or FORMATS.get(file.suffix.lower())
    if format_ is None:
        raise SourceError(
            f"source {source.name!r}: the format of {file.name} can't be told from its name; "
            f"add 'format', one of {', '.join(sorted(set(FORMATS.values())))} or module:function"
        )
    if file.stat().st_size == 0:
        yield Row(file.name, {}, "empty_file", f"{file.name} has no bytes")
        return
    try:
        if ":" in format_:
            yield from _by_function(file, format_)
        elif format_ == "parquet":
            yield from _parquet(file)
        else:
            lines = _decoded_lines(file, source.encoding)
            yield from {"jsonl": _jsonl, "csv": _csv, "lines": _lines}[format_](file, lines)
    except (OSError, pa.ArrowInvalid, UnicodeError) as error:
        yield Row(file.name, {}, "unreadable_file", f"{file.name}: {error}")


def detect_encoding(sample: bytes) -> str:
    """Encoding of a text file from its first bytes.

    A byte-order mark decides; then UTF-8 where nearly all lines are valid UTF-8 (single broken
    rows are quarantined, not taken for another encoding); then charset-normalizer.
    """
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if sample.startswith(mark):
            return name
    lines = sample.split(b"\n")[:-1] or [sample]
    if sum(_is_utf8(line) for line in lines) >= 0.9 * len(lines):
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=LEGACY_ENCODINGS).best()
    return best.encoding if best else "utf-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded_lines(file: UPath, encoding: str | None) -> Iterator[tuple[int, str | None]]:
    """Numbered lines; None where a line's bytes are not text in the file's encoding."""
    with file.open("rb") as opened:
        encoding = encoding or detect_encoding(opened.read(SAMPLE_BYTES))
        opened.seek(0)
        if encoding.replace("_", "-").startswith("utf-16"):  # a newline is two bytes there
            for number, text in enumerate(codecs.getreader(encoding)(opened), 1):
                yield number, text.rstrip("\r\n")
            return
        for number, line in enumerate(opened, 1):
            try:
                yield (
                    number,
                    line.rstrip(b"\r\n").decode(encoding if number == 1 else _bare(encoding)),
                )
            except UnicodeDecodeError:
                yield number, None


def _bare(encoding: str) -> str:
    """Only the first line carries the byte-order mark."""
    return "utf-8" if encoding == "utf-8-sig" else encoding


def _undecodable(place: str) -> Row:
    return Row(place, {}, "undecodable", f"{place}: bytes that are no text in the file's encoding")


def _lines(file: UPath, lines: Iterable[tuple[int, str | None]]) -> Iterator[Row]:
    for number, line in lines:
        place = f"{file.name}:{number}"
        yield _undecodable(place) if line is None else Row(place, {"text": line})


def _jsonl(file: UPath, lines: Iterable[tuple[int, str | None]]) -> Iterator[Row]:
    for number, line in lines:
        place = f"{file.name}:{number}"
        if line is None:
            yield _undecodable(place)
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            yield Row(place, {"text": line}, "broken_row", f"{place}: {error}")
        else:
            yield Row(place, values)


def _csv(file: UPath, lines: Iterable[tuple[int, str | None]]) -> Iterator[Row]:
    broken: list[str] = []
    place = file.name

    def readable() -> Iterator[str]:
        nonlocal place
        for number, line in lines:
            place = f"{file.name}:{number}"
            if line is None:
                broken.append(place)
            else:
                yield f"{line}\n"

    reader = csv.reader(readable(), delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
    header = next(reader, [])
    for cells in reader:
        if len(cells) == len(header):
            yield Row(place, dict(zip(header, cells, strict=True)))
        else:
            reason = f"{place}: {len(cells)} fields where the header has {len(header)}"
            yield Row(place, {"text": ",".join(cells)}, "broken_row", reason)
    yield from (_undecodable(place) for place in broken)


def _parquet(file: UPath) -> Iterator[Row]:
    number = 0
    with file.open("rb") as opened:
        for batch in pq.ParquetFile(opened).iter_batches():
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{file.name}:{number}", values)


def _by_function(file: UPath, format_: str) -> Iterator[Row]:
    module, function = format_.split(":")
    read = getattr(importlib.import_module(module), function)
    for number, values in enumerate(read(Path(file.path)), 1):
        yield Row(f"{file.name}:{number}", values)


def _document(row: Row, source: Source, language: str, seen: set[str]) -> dict[str, Any]:
    """One row of RAW_DOCUMENTS; a repeated id and a missing text become rules."""
    values = dict(row.values)
    picked = {name: values.pop(source.fields.get(name, name), None) for name in _COLUMNS}
    native = values.pop(source.fields.get("id", "id"), None)
    doc_id = document_id(source.name, str(row.place if native is None else native))
    rule, reason = row.rule, row.reason
    if rule is None and doc_id in seen:
        rule, reason = "duplicate_id", f"{row.place}: id {native!r} was seen before in this source"
    elif rule is None and picked["text"] is None:
        name = source.fields.get("text", "text")
        rule = "missing_text"
        reason = f"{row.place}: no field {name!r}; name the right one under 'fields.text'"
    if rule is not None:
        # A rejected row's id is its place, so that it can't be mixed up with a good one's.
        doc_id = document_id(f"{source.name}\0rejected", row.place)
    seen.add(doc_id)
    return {
        "doc_id": doc_id,
        "source": source.name,
        "kind": source.kind,
        **{name: None if value is None else str(value) for name, value in picked.items()},
        "text": "" if picked["text"] is None else str(picked["text"]),
        "language": picked["language"] or source.language or language,
        "licence": source.licence,
        "meta": json.dumps(
            {**values, **source.constants}, ensure_ascii=False, sort_keys=True, default=str
        ),
        "origin": row.place,
        "rule": rule,
        "reason": reason,
    }


def document_id(source: str, native_id: str) -> str:
    """doc_id: xxh3-128 of source and native id, in hexadecimal."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{native_id}".encode())
