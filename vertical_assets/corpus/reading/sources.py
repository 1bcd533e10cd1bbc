"""Sources: their parts become RAW_DOCUMENTS; what can't be a document says why (SPEC D2).

A row is never dropped here: a broken one keeps its place with `rule` and `reason` filled, and
`valid_corpus` moves it to `quarantine`. The rows of a part depend on the part's name, its
fingerprint and the source's declaration alone, so that unchanged parts need not be read again.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import xxhash
from upath import UPath

from vertical_assets.corpus.reading.database import query_blocks, query_part
from vertical_assets.corpus.reading.documents import document_id, documents
from vertical_assets.corpus.reading.files import SourceError, files_of
from vertical_assets.corpus.reading.parts import SourcePart, file_parts, unchanged
from vertical_assets.corpus.reading.readers import blocks_of
from vertical_assets.spec import Source, VerticalSpec
from vertical_assets.store import tombstones

__all__ = [
    "Row",
    "SourceError",
    "SourcePart",
    "document_id",
    "drop_folder",
    "files_of",
    "fingerprint",
    "fingerprints",
    "parts_of",
    "read_file",
    "read_part",
    "read_source",
    "work_folder",
]


class Row(NamedTuple):
    """One row of a file: its values, and the rule that it breaks."""

    place: str
    values: Mapping[str, Any]
    rule: str | None = None
    reason: str | None = None


def parts_of(source: Source, data: UPath, known: Path | None = None) -> list[SourcePart]:
    """What a source is read by: its files, big ones in several parts, or its query's result.

    Args:
        source: its declaration.
        data: folder that a relative `path` starts from, `data/<vertical>/`.
        known: JSON file of remembered fingerprints, one per source; without it all is hashed.

    Raises:
        SourceError: nothing can be read at all.
    """
    return [query_part(source)] if source.database else file_parts(source, data, known)


def read_part(part: SourcePart, source: Source, language: str) -> Iterator[pa.RecordBatch]:
    """Documents of a part, in batches of RAW_DOCUMENTS.

    Ids are not compared: the same one may occur twice, here and in other parts.

    Args:
        part: one of `parts_of`.
        source: its declaration.
        language: of documents whose source does not say.

    Raises:
        SourceError: the source can't be read, or changed meanwhile.
    """
    blocks = blocks_of(part, source) if part.file is not None else query_blocks(part, source)
    for block in blocks:
        if block.rows:
            yield documents(block, source, language)
    if not unchanged(part, source):
        raise SourceError(
            f"source {source.name!r}: {part.file_name} changed while it was read; read it again"
        )


def read_source(source: Source, data: UPath, language: str) -> Iterator[pa.RecordBatch]:
    """Documents of all parts of a source; arguments and errors as of `parts_of`, `read_part`."""
    for part in parts_of(source, data):
        yield from read_part(part, source, language)


def read_file(file: UPath, source: Source) -> Iterator[Row]:
    """Rows of one file as it has them; one that can't be opened is one row that says so."""
    for places, rows, broken in blocks_of(SourcePart(file.name, "", file), source):
        for index, (place, values) in enumerate(zip(places, rows, strict=True)):
            yield Row(place, values, *broken.get(index, ()))


def fingerprint(source: Source, data: UPath, known: Path | None = None) -> str:
    """Digest of the names and contents of a source's parts: what `raw_corpus` depends on."""
    digest = xxhash.xxh3_128()
    for part in parts_of(source, data, known):
        digest.update(f"{part.name}\0{part.fingerprint}\0".encode())
    return digest.hexdigest()


def fingerprints(spec: VerticalSpec) -> dict[str, str]:
    """Fingerprint of every source and its tombstones; "missing" where it can't be read at present.

    Files whose size and times are as before are not opened: it can be asked every minute.
    """
    found = {}
    gone = tombstones.read(drop_folder(spec.name) / tombstones.FILE)
    for source in spec.sources:
        known = work_folder(spec.name) / "fingerprints" / f"{source.name}.json"
        try:
            files = fingerprint(source, drop_folder(spec.name), known)
            found[source.name] = files + gone.digest(source.name)
        except SourceError:
            found[source.name] = "missing"
    return found


def drop_folder(vertical: str) -> UPath:
    """Where people put a vertical's files: `$VERTICAL_DATA/<vertical>`, by default under `data`."""
    return UPath(os.environ.get("VERTICAL_DATA", "data")) / vertical


def work_folder(vertical: str) -> Path:
    """What may be deleted and is made anew: `$VERTICAL_WORK/<vertical>`, under `data/work`."""
    return Path(os.environ.get("VERTICAL_WORK", "data/work")) / vertical
