"""Readers of rows, one function per format; a broken row stays, with rule, place and reason."""

import csv
import importlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from vertical_assets.corpus.reading import pages
from vertical_assets.corpus.reading.documents import Block
from vertical_assets.corpus.reading.encodings import BLOCK_CHARS, Lines, decoded
from vertical_assets.corpus.reading.files import SourceError, UnreadableError, format_of, local_copy
from vertical_assets.corpus.reading.pages import text_encoding, undecodable
from vertical_assets.corpus.reading.parts import SourcePart, opened_part, seekable
from vertical_assets.spec import Source

ROWS_PER_BLOCK = 8192
ROWS_OF_FUNCTION = 512
BLOCK_BYTES = 8 << 20
# The longest field of a CSV file in characters: where an unclosed quote is given up.
MAX_FIELD_CHARS = 1 << 22


def blocks_of(part: SourcePart, source: Source) -> Iterator[Block]:
    """Rows of one part of a file, in blocks of some megabytes.

    A file that can't be read, or not to its end, gives one row that says why: `empty_file`,
    `unknown_format`, `wrong_format`, `no_text` or `unreadable_file`.

    Raises:
        SourceError: the source's function or encoding does not exist; a remote file can't be
            fetched.
        OSError: the operating system refuses the file.
    """
    format_ = format_of(source, part.file_name)
    try:
        if part.file is not None and part.file.stat().st_size == 0:
            raise UnreadableError("empty_file", "the file has no bytes")
        if format_ is None:
            raise UnreadableError(
                "unknown_format", "the name does not tell the format; narrow the source's path"
            )
        if format_ in pages.READERS:
            values, broken = pages.READERS[format_](part, source)
            row = {source.fields.get(name, name): value for name, value in values.items()}
            yield Block([part.name], [row], {0: broken} if broken else {})
        else:
            yield from READERS.get(format_, _function)(part, source)
    except UnreadableError as error:
        yield _whole(part, error.rule, str(error))
    except (SourceError, ImportError, MemoryError):
        raise
    except Exception as error:  # every library has its own kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        words = f"{type(error).__name__}: {error}; repair the file or take it away"
        yield _whole(part, "unreadable_file", words)


def _whole(part: SourcePart, rule: str, reason: str) -> Block:
    return Block([part.name], [{}], {0: (rule, f"{part.name}: {reason}")})


def _line_blocks(part: SourcePart, source: Source) -> Iterator[tuple[Lines, str]]:
    with opened_part(part) as (sample, stream):
        encoding = text_encoding(sample, part, source)
        for lines in decoded(stream, encoding, part.lines_before + 1):
            yield lines, encoding


def _places(part: SourcePart, lines: Lines) -> list[str]:
    name = part.file_name
    return [f"{name}:{number}" for number in range(lines.first, lines.first + len(lines.lines))]


def _lines(part: SourcePart, source: Source) -> Iterator[Block]:
    field = source.fields.get("text", "text")
    for lines, encoding in _line_blocks(part, source):
        places = _places(part, lines)
        broken = {i: undecodable(places[i], encoding) for i in lines.undecodable}
        yield Block(places, [{field: line} for line in lines.lines], broken)


def _jsonl(part: SourcePart, source: Source) -> Iterator[Block]:
    field, loads = source.fields.get("text", "text"), orjson.loads
    for lines, encoding in _line_blocks(part, source):
        block = Block(_places(part, lines), [], {})
        for index, line in enumerate(lines.lines):
            reason = None
            try:
                row = loads(line)
                if type(row) is not dict:
                    reason = "not a JSON object"
            except orjson.JSONDecodeError as error:
                reason = f"{error.msg} at character {error.pos + 1}" if line else "a blank line"
            if reason:
                row = {field: line}
                block.broken[index] = ("broken_row", f"{block.places[index]}: {reason}")
            block.rows.append(row)
        for index in lines.undecodable:
            block.broken[index] = undecodable(block.places[index], encoding)
        yield block


class _Feed:
    """Lines for the CSV parser, which can be had again from the second of a record on.

    Each is (number, text, encoding if its bytes are no text in it).
    """

    def __init__(self, blocks: Iterator[tuple[Lines, str]]) -> None:
        self.lines = (
            (number, line, encoding if number - lines.first in lines.undecodable else None)
            for lines, encoding in blocks
            for number, line in enumerate(lines.lines, lines.first)
        )
        self.again: list[tuple[int, str, str | None]] = []
        self.taken: list[tuple[int, str, str | None]] = []
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.again.pop() if self.again else next(self.lines)
        self.taken.append(line)
        self.characters += len(line[1])
        return f"{line[1]}\n"

    def give_back(self) -> None:
        self.again.extend(reversed(self.taken[1:]))
        del self.taken[1:]


def _csv(part: SourcePart, source: Source, delimiter: str = ",") -> Iterator[Block]:
    """RFC 4180. A broken record costs its first line; reading goes on with the next line."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    feed = _Feed(_line_blocks(part, source))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header = next(reader)
    if len(set(header)) < len(header):
        raise UnreadableError("unreadable_file", f"the header names a column twice: {header}")
    block = Block([], [], {})
    while True:
        feed.taken.clear()
        cells, reason = [], ""
        try:
            cells = next(reader)
            reason = f"{len(cells)} fields where the header has {len(header)}"
        except StopIteration:
            break
        except csv.Error as error:
            reason = str(error)
        except Exception:  # the file breaks off: what was read of it stays
            yield block
            raise
        number, line, _ = feed.taken[0]
        place, index = f"{part.name}:{number}", len(block.rows)
        if len(cells) != len(header):
            feed.give_back()
            if delimiter == "\t":  # mostly, quotes mean nothing there
                cells = line.split(delimiter)
        if len(cells) == len(header):
            row = dict(zip(header, cells, strict=True))
        else:
            row = {source.fields.get("text", "text"): line}
            block.broken[index] = ("broken_row", f"{place}: {reason if line else 'a blank line'}")
        for number, _, encoding in feed.taken:
            if encoding:
                block.broken[index] = undecodable(f"{part.name}:{number}", encoding)
        block.places.append(place)
        block.rows.append(row)
        if feed.characters >= BLOCK_CHARS:
            yield block
            block, feed.characters = Block([], [], {}), 0
    yield block


def _tsv(part: SourcePart, source: Source) -> Iterator[Block]:
    return _csv(part, source, "\t")


def _parquet(part: SourcePart, source: Source) -> Iterator[Block]:
    with seekable(part) as opened, pq.ParquetFile(opened) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        row_bytes = sum(g.total_byte_size for g in groups) // max(1, file.metadata.num_rows)
        size = max(1, min(ROWS_PER_BLOCK, BLOCK_BYTES // max(1, row_bytes)))
        number = 1
        # All groups at once would be kept in memory to the end: read-ahead caches them.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(size, [group]):
                places = [f"{part.name}:{number + i}" for i in range(batch.num_rows)]
                number += batch.num_rows
                yield Block(places, _microseconds(batch).to_pylist(), {})


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times of nanoseconds become microseconds: Python's, without pandas."""
    fields = [
        field.with_type(pa.timestamp("us", field.type.tz))
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns"
        else field
        for field in batch.schema
    ]
    return batch.cast(pa.schema(fields), safe=False)


def _function(part: SourcePart, source: Source) -> Iterator[Block]:
    module, _, name = str(source.format).partition(":")
    try:
        read = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SourceError(
            f"source {source.name!r}: format {source.format!r}: {error}; correct 'format', or "
            "install the package"
        ) from error
    assert part.file is not None
    with local_copy(part.file) as path:
        found, number = iter(read(path)), 1
        rows: list[dict[str, Any]] = [{}]
        while rows:
            rows, broken_off = [], None
            try:
                rows.extend(dict(row) for row in islice(found, ROWS_OF_FUNCTION))
            except Exception as error:  # what was read before it stays
                broken_off = error
            places = [f"{part.name}:{number + i}" for i in range(len(rows))]
            number += len(rows)
            yield Block(places, rows, {})
            if broken_off:
                raise broken_off


READERS: dict[str, Callable[[SourcePart, Source], Iterator[Block]]] = {
    "jsonl": _jsonl,
    "lines": _lines,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
}
