"""Tombstones: which documents are to be forgotten (`vertical-assets forget <doc_id>`).

One JSON object a line in `data/<vertical>/tombstones.jsonl`. A source that gives its documents an
id is asked by `doc_id`. Elsewhere the id is the document's file and line, which moves when lines
go, and would then hit another document; there the text itself is recognised, by its digest.

The digest is plain (BLAKE2b-128): who holds the file can confirm a guess of a short text. It lies
beside the sources, which hold the text in the open until their owner removes the line; whoever
does so may remove the tombstone too. A key would add a secret that, once lost, lets the document
come back without a word.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.store.atomic import locked, replace

FILE = "tombstones.jsonl"
DIGEST_BYTES = 16


class TombstoneError(ValueError):
    """A line that is no tombstone; the message names file, line and remedy."""


@dataclass(frozen=True)
class Tombstone:
    """One document that is to be forgotten."""

    doc_id: str
    source: str
    forgotten_at: str  # ISO 8601, UTC
    reason: str | None = None
    text_digest: str | None = None  # of a text without a lasting id: "<bytes>-<BLAKE2b-128>"


@dataclass(frozen=True)
class Tombstones:
    """All tombstones of a vertical, in the order in which they were set."""

    entries: tuple[Tombstone, ...] = ()

    def digest(self, source: str | None = None) -> str:
        """What a source's partition depends on; of all sources where none is named.

        Empty where nothing is forgotten; neither order, time nor reason counts.
        """
        keys = sorted({_key(e) for e in self.entries if source in (None, e.source)})
        return xxhash.xxh3_128_hexdigest("\n".join(map("\0".join, keys)).encode()) if keys else ""

    def forgotten(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows are to go, by `doc_id`, `source` and `text`; never null.

        `source` and `text` are those of `raw_corpus`, before any cleaning.
        """
        gone = np.zeros(batch.num_rows, dtype=bool)
        for source, (ids, sizes, digests) in self._wanted.items():
            here = pc.is_in(batch["source"], pa.array([source]))
            if not pc.any(here).as_py():
                continue
            hit = pc.and_(here, pc.is_in(batch["doc_id"], ids)).to_numpy(zero_copy_only=False)
            gone |= hit
            if digests:
                # Lengths first: only texts of a wanted length are digested.
                candidates = pc.and_(here, pc.is_in(pc.binary_length(batch["text"]), sizes))
                texts = batch["text"].filter(candidates).to_pylist()
                rows = pc.indices_nonzero(candidates).to_numpy()
                gone[rows] |= np.fromiter(
                    (text_digest(t) in digests for t in texts), bool, len(rows)
                )
        return pa.array(gone)

    @cached_property
    def _wanted(self) -> dict[str, tuple[pa.Array, pa.Array, frozenset[str]]]:
        """By source: ids, lengths of texts, and digests of texts."""
        wanted = {}
        for source in sorted({entry.source for entry in self.entries}):
            own = [entry for entry in self.entries if entry.source == source]
            ids = [entry.doc_id for entry in own if entry.text_digest is None]
            digests = frozenset(entry.text_digest for entry in own if entry.text_digest)
            sizes = sorted({int(digest.partition("-")[0]) for digest in digests})
            wanted[source] = pa.array(ids, pa.string()), pa.array(sizes, pa.int32()), digests
        return wanted


def read(path: UPath) -> Tombstones:
    """The tombstones of a file; none where it does not exist.

    Raises:
        TombstoneError: a line is malformed.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Tombstones()
    return Tombstones(tuple(_parsed(line, f"{path}:{n}") for n, line in enumerate(lines, 1)))


def add(
    path: UPath,
    doc_id: str,
    source: str,
    *,
    text: str | None = None,
    reason: str | None = None,
) -> bool:
    """Sets a tombstone; False where the document has one already.

    The file is replaced whole under a lock of its folder: a kill leaves the old one, and two
    writers on one machine wait for each other. On an object store there is no lock: one at a time.

    Args:
        path: the vertical's file; its folder is made where it is not there.
        doc_id: the document.
        source: its source.
        text: its text in `raw_corpus`, if the source gives no lasting id.
        reason: who asked, or a ticket; shown to people only.

    Raises:
        TombstoneError: the file has a malformed line, or `text` is empty.
    """
    if text == "":
        raise TombstoneError(
            f"{doc_id} has no text, so it can't be told from other rows; remove the row that "
            f"`vertical-assets trace {doc_id}` names from the source"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Tombstone(doc_id, source, now, reason, None if text is None else text_digest(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        entries = read(path).entries
        if _key(entry) in map(_key, entries):
            return False
        replace(path, _lines([*entries, entry]))
    return True


def text_digest(text: str) -> str:
    """Length in UTF-8 bytes and BLAKE2b-128 of a text, `<bytes>-<hex>`."""
    data = text.encode()
    return f"{len(data)}-{hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()}"


def _key(entry: Tombstone) -> tuple[str, str, str]:
    """What a tombstone recognises its document by."""
    return entry.source, entry.doc_id, entry.text_digest or ""


def _lines(entries: Sequence[Tombstone]) -> bytes:
    held = ({k: v for k, v in asdict(entry).items() if v is not None} for entry in entries)
    return b"".join(json.dumps(values, ensure_ascii=False).encode() + b"\n" for values in held)


def _parsed(line: bytes, place: str) -> Tombstone:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ValueError("not an object of texts")
        entry = Tombstone(**values)
        if not entry.doc_id or not entry.source:
            raise ValueError("doc_id or source is empty")
        if datetime.fromisoformat(entry.forgotten_at).tzinfo is None:
            raise ValueError(f"forgotten_at {entry.forgotten_at!r} has no time zone")
        if entry.text_digest is not None:
            size, _, digest = entry.text_digest.partition("-")
            if not size.isdecimal() or len(bytes.fromhex(digest)) != DIGEST_BYTES:
                raise ValueError(
                    f"text_digest {entry.text_digest!r} is not <bytes>-<32 hex digits>"
                )
    except (ValueError, TypeError) as error:
        names = ", ".join(field.name for field in fields(Tombstone))
        raise TombstoneError(
            f"{place}: no tombstone ({error}); correct the line ({names}), or delete it and run "
            "`vertical-assets forget` again"
        ) from error
    return entry
