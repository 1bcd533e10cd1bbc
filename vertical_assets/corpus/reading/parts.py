"""Parts: what is read at one go and known by its content, so that it is read only once.

A part is a file, or 64 MiB of whole lines of a big one: what an append leaves as it is has the
same fingerprint as before.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import NamedTuple

import xxhash
from pydantic import TypeAdapter
from upath import UPath

from vertical_assets.corpus.reading.encodings import SAMPLE_BYTES, detect_encoding
from vertical_assets.corpus.reading.files import (
    FORMATS,
    SourceError,
    compressed,
    format_of,
    is_local,
    local_copy,
    named_files,
    opened,
)
from vertical_assets.spec import Source

PART_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
LINE_FORMATS = ("jsonl", "lines")
# A file changed this recently may change again within its clock's tick (as git's index has it).
SETTLED_NS = 2_000_000_000
# What object stores and web servers call a file's time or checksum; without one, it is hashed anew.
VERSION_KEYS = {"etag", "digest", "contentmd5", "md5hash", "lastmodified", "mtime", "created"}


@dataclass(frozen=True)
class SourcePart:
    """What is read at one go; its rows depend on `name`, `fingerprint` and the declaration alone.

    Attributes:
        name: the file, relative to where its source's wildcards start; `:line` where a later
            part of the file starts.
        fingerprint: xxh3-128 of its bytes (of its encoding too, where a file has several parts).
        file: None for the rows of a query.
        start, stop: its bytes in the file; `stop` is None for a file that is never parted.
        lines_before: lines of the file before it.
        encoding: where the file's beginning decided it.
    """

    name: str
    fingerprint: str
    file: UPath | None = None
    start: int = 0
    stop: int | None = None
    lines_before: int = 0
    encoding: str | None = None
    stamp: str | None = field(default=None, compare=False)

    @property
    def file_name(self) -> str:
        return self.name.rpartition(":")[0] if self.lines_before else self.name


class _Piece(NamedTuple):
    fingerprint: str
    start: int
    stop: int | None
    lines_before: int
    encoding: str | None


_KNOWN: TypeAdapter[dict[str, tuple[str, list[_Piece]]]] = TypeAdapter(
    dict[str, tuple[str, list[_Piece]]]
)


def file_parts(source: Source, data: UPath, known: Path | None = None) -> list[SourcePart]:
    """The parts of a source's files, in order of their names.

    Args:
        source: its declaration.
        data: folder that a relative `path` starts from.
        known: JSON file that remembers fingerprints of this source, so that only files whose size
            or time changed are hashed; rebuilt where it is missing or damaged.

    Raises:
        SourceError: no files, or none of a known format, or they can't be reached.
    """
    try:
        return _file_parts(source, data, known)
    except SourceError:
        raise
    except Exception as error:  # every file system has its own
        raise SourceError(
            f"source {source.name!r} can't be reached: {type(error).__name__}: {error}"
        ) from error


def _file_parts(source: Source, data: UPath, known: Path | None) -> list[SourcePart]:
    files = named_files(source, data)
    formats = {name: format_of(source, name) for name in files}
    if not any(formats.values()):
        raise SourceError(
            f"source {source.name!r}: the format of {next(iter(files))} can't be told from its "
            f"name; add 'format', one of {', '.join(sorted({*FORMATS.values(), 'text'}))} or "
            "module:function"
        )
    before = _remembered(known)
    after, parts = {}, []
    for name, file in files.items():
        cut = formats[name] in LINE_FORMATS and is_local(file) and not compressed(name)
        stamp = _stamp(file)
        state = f"{stamp} {cut} {source.encoding}"
        entry = before.get(name)
        if entry is None or entry[0] != state:
            entry = (state, _pieces(file, source.encoding, cut))
        if stamp is not None and _settled(file):
            after[name] = entry
        for piece in entry[1]:
            place = f"{name}:{piece.lines_before + 1}" if piece.lines_before else name
            parts.append(
                SourcePart(
                    name=place,
                    fingerprint=piece.fingerprint,
                    file=file,
                    start=piece.start,
                    stop=piece.stop,
                    lines_before=piece.lines_before,
                    encoding=piece.encoding,
                    stamp=stamp,
                )
            )
    if known is not None and after != before:
        _remember(known, after)
    return parts


def unchanged(part: SourcePart, source: Source) -> bool:
    """Whether the part's file still holds what the part's fingerprint says."""
    if part.file is None or part.stamp is None or _stamp(part.file) == part.stamp:
        return True
    pieces = _pieces(part.file, source.encoding, cut=part.stop is not None)
    return any((p.fingerprint, p.start) == (part.fingerprint, part.start) for p in pieces)


def _pieces(file: UPath, encoding: str | None, cut: bool) -> list[_Piece]:
    """Digests of a file; `cut` after whole lines, at the first newline past every 64 MiB."""
    pieces: list[_Piece] = []
    start = lines = 0
    with file.open("rb") as content:
        if cut and file.stat().st_size > PART_BYTES:
            encoding = encoding or detect_encoding(content.read(SAMPLE_BYTES))
            content.seek(0)
            cut = not encoding.replace("_", "-").lower().startswith(("utf-16", "utf-32"))
            encoding = encoding if cut else None
        else:
            encoding = None
        limit = PART_BYTES if cut else sys.maxsize
        while (chunk := content.read(CHUNK_BYTES)) or not pieces:
            digest = xxhash.xxh3_128((encoding or "").encode())
            length, before = 0, lines
            while chunk:
                digest.update(chunk)
                length += len(chunk)
                lines += chunk.count(b"\n") if cut else 0
                chunk = content.read(CHUNK_BYTES) if length < limit else b""
            if length >= limit:
                rest = content.readline()
                digest.update(rest)
                length, lines = length + len(rest), lines + rest.count(b"\n")
            stop = start + length if cut else None
            pieces.append(_Piece(digest.hexdigest(), start, stop, before, encoding))
            start += length
    return pieces


def _stamp(file: UPath) -> str | None:
    """What changes whenever the file does, without reading it; None where nothing tells."""
    if is_local(file):
        stat = Path(file.path).stat()
        return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    info = file.fs.info(file.path)
    keys = {key.lower().replace("-", "").replace("_", "") for key in info}
    return str(sorted(info.items())) if keys & VERSION_KEYS else None


def _settled(file: UPath) -> bool:
    if not is_local(file):
        return True
    stat = Path(file.path).stat()
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS


def _remembered(known: Path | None) -> dict[str, tuple[str, list[_Piece]]]:
    try:
        return _KNOWN.validate_json(known.read_bytes()) if known else {}
    except (FileNotFoundError, ValueError):
        return {}


def _remember(known: Path, entries: dict[str, tuple[str, list[_Piece]]]) -> None:
    known.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=known.parent, delete=False) as temporary:
        temporary.write(_KNOWN.dump_json(entries))
    Path(temporary.name).replace(known)


@contextmanager
def opened_part(part: SourcePart) -> Iterator[tuple[bytes, BufferedIOBase]]:
    """First bytes of a part and a stream of all of them, decompressed."""
    assert part.file is not None
    with local_copy(part.file) as path:
        if part.stop is not None:
            with path.open("rb") as file:
                file.seek(part.start)
                content = file.read(part.stop - part.start)
            yield content[:SAMPLE_BYTES], BytesIO(content)
        else:
            with opened(path) as stream:
                sample = _sample(stream)
            with opened(path) as stream:
                yield sample, stream


def _sample(stream: BufferedIOBase) -> bytes:
    """First bytes of a stream, or as many as there are before it breaks off."""
    sample = b""
    try:
        while len(sample) < SAMPLE_BYTES and (chunk := stream.read1(CHUNK_BYTES)):
            sample += chunk
    except Exception:
        if not sample:
            raise
    return sample


@contextmanager
def seekable(part: SourcePart) -> Iterator[Path | BytesIO]:
    """For libraries that jump about in a file: its path, or its decompressed bytes."""
    assert part.file is not None
    if compressed(part.name):
        with opened_part(part) as (_, stream):
            yield BytesIO(stream.read())
    else:
        with local_copy(part.file) as path:
            yield path
