"""Tables: Arrow batches streamed into Parquet parts; the version is a digest of the content.

A part is what is made and kept together, e.g. the rows of one source file. Each has a key: a digest
of all that it is made from. A part that the table's previous version has under the same key is
linked, not made again; so a table costs what is new in it. `_parts.json` lists the parts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from upath import UPath

from vertical_assets.store.content import ContentDigest
from vertical_assets.store.encryption import DecryptionError, is_encrypted, writer_properties
from vertical_assets.store.keys import EncryptionKeyError
from vertical_assets.store.versions import (
    PARTS,
    Part,
    Staged,
    Table,
    current,
    link,
    new_staging,
)

ROWS_PER_GROUP = 65_536
BYTES_PER_GROUP = 32 << 20  # so that long texts do not fill the memory
ROWS_PER_SMALL = 2048  # fewer, and a part goes on together with its neighbours
PREVIEW_ROWS = 5


def previous_version(entry: UPath) -> Table | None:
    """The current version of a table, whose parts a new one may take over; None where there is
    none, or one from before tables had parts.
    """
    try:
        version = current(entry)
    except FileNotFoundError:
        return None
    return Table((version,)) if (version / PARTS).exists() else None


def stage_table(
    root: UPath, schema: pa.Schema, batches: Iterable[pa.RecordBatch], sensitive: bool = False
) -> Staged:
    """Streams batches into a table of one part.

    Args:
        root: the store's root.
        schema: columns; every batch is cast to it.
        batches: rows, in any batch size.
        sensitive: encrypt it.
    """
    writer = TableWriter(root, schema, sensitive=sensitive)
    with writer.part("") as part:
        for batch in batches:
            part.append(batch)
    return writer.close()


def grouped(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Small parts taken together, so that a thousand files don't stay a thousand parts.

    A group ends where the content says so (about every 64 parts) or where it has ROWS_PER_SMALL
    rows: a new part changes its own group, not all that follow. A part of that size stays alone.
    """
    group: list[Part] = []
    for part in parts:
        if part.rows >= ROWS_PER_SMALL:
            if group:
                yield group
            yield [part]
            group = []
            continue
        group.append(part)
        if int(part.digest[:4], 16) % 64 == 0 or sum(p.rows for p in group) >= ROWS_PER_SMALL:
            yield group
            group = []
    if group:
        yield group


class PartWriter:
    """A part that is being written: rows go in by `append`, sums for its page into `figures`."""

    def __init__(self, file: UPath, schema: pa.Schema, encryption: Any = None) -> None:
        self.schema, self.figures, self.preview = schema, Counter[str](), list[dict[str, Any]]()
        self.rows = self._held_bytes = self._held_rows = 0
        self._held: list[pa.RecordBatch] = []
        self._digest = ContentDigest(schema)
        self._sink = file.open("wb")
        self._parquet = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            # Texts repeat; hashes never do.
            use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
            encryption_properties=encryption,
        )

    def append(self, batch: pa.RecordBatch) -> None:
        batch = batch.cast(self.schema)
        if not batch.num_rows:
            return
        if len(self.preview) < PREVIEW_ROWS:
            self.preview += batch.slice(0, PREVIEW_ROWS - len(self.preview)).to_pylist()
        self._digest.update(batch)
        self._held.append(batch)
        self.rows += batch.num_rows
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        if self._held_rows >= ROWS_PER_GROUP or self._held_bytes >= BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            group = pa.Table.from_batches(self._held, self.schema)
            self._parquet.write_table(group, row_group_size=ROWS_PER_GROUP)
            self._held, self._held_rows, self._held_bytes = [], 0, 0

    def close(self) -> tuple[str, int]:
        """Ends the file; returns (digest of the content, bytes)."""
        self._flush()
        self._parquet.close()
        size = self._sink.tell()
        self._sink.close()
        return self._digest.hexdigest(), size


class TableWriter:
    """Stages a new version of a table, part by part.

    Args:
        root: the store's root.
        schema: columns; every batch is cast to it.
        previous: the current version, whose parts are taken over where their keys are the same.
        sensitive: encrypts the table (SPEC X2); of an encrypted table nothing is shown on its page.

    Raises:
        EncryptionKeyError: the table is sensitive and there is no key.
    """

    def __init__(
        self,
        root: UPath,
        schema: pa.Schema,
        previous: Table | None = None,
        sensitive: bool = False,
    ) -> None:
        self.schema, self.parts, self.made, self.sensitive = schema, list[Part](), 0, sensitive
        self.previous = previous
        self._staging, self._preview = new_staging(root), list[dict[str, Any]]()
        self._encryption, self._known, self._anew = None, dict[str, Part](), False
        older = previous.paths[0] if previous else None
        if older is not None and is_encrypted(older) != sensitive:
            older = None  # a part can't be taken over from plain to encrypted, or back
        if sensitive:
            try:
                self._encryption = writer_properties(self._staging, like=older)
            except (DecryptionError, EncryptionKeyError):
                if older is None:
                    raise
                # What can't be read any more is made anew, all of it.
                older, self.previous, self._anew = None, None, True
                self._encryption = writer_properties(self._staging)
        if older is not None:
            self._known = {part.key: part for part in Table((older,)).parts()}

    def reuse(self, key: str) -> bool:
        """Takes the part over from the previous version, if it is there."""
        known = self._known.get(key)
        if known is not None:
            link(known.path, self._next())
            self.parts.append(replace(known, path=self._next()))
        return known is not None

    def has(self, key: str) -> bool:
        return key in self._known

    @contextmanager
    def part(self, key: str) -> Iterator[PartWriter]:
        """A new part; `key` is a digest of all that it is made from."""
        writer = PartWriter(self._next(), self.schema, self._encryption)
        yield writer
        digest, size = writer.close()
        self._preview += writer.preview[: PREVIEW_ROWS - len(self._preview)]
        self.parts.append(Part(self._next(), key, writer.rows, size, digest, dict(writer.figures)))
        self.made += 1

    @property
    def figures(self) -> Counter[str]:
        """Sums over all parts, made now or before."""
        total = Counter[str]()
        for part in self.parts:
            total.update(part.figures)
        return total

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def staged(self) -> Table:
        """What is written so far, readable before it is published."""
        listed = [{**asdict(part), "path": part.path.name} for part in self.parts]
        (self._staging / PARTS).write_text(json.dumps(listed))
        return Table((self._staging,))

    def close(self) -> Staged:
        """Writes the list of parts; the version is a digest of schema and parts."""
        if not self.parts:
            with self.part(""):
                pass  # an empty table has its schema in a file too
        staged = self.staged
        # Encrypted, a table is another one: its plain version must not be taken for it.
        digest = xxhash.xxh3_128(f"{self.schema} {self.sensitive}".encode())
        for part in self.parts:
            digest.update(part.digest.encode())
        if self.sensitive:
            self._preview = []
        elif not self._preview and self.rows:
            first = next(iter(staged.batches()))
            self._preview = first.slice(0, PREVIEW_ROWS).to_pylist()
        size = sum(part.bytes for part in self.parts)
        return Staged(
            self._staging,
            digest.hexdigest(),
            size,
            self.rows,
            self.schema,
            tuple(self._preview),
            self._anew,
        )

    def _next(self) -> UPath:
        return self._staging / f"part-{len(self.parts):05d}.parquet"
