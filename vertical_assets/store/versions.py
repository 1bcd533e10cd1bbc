"""Versions: every result is written aside, then becomes visible at once under its content's digest.

    <root>/<vertical>/<asset>[/<partition>]/<digest>/...   immutable
    <root>/<vertical>/<asset>[/<partition>]/CURRENT.json   which digest is the current one
    <root>/.staging/<random>/...                           being written; never read

A process may be killed at any moment: before the rename nothing is visible, before the pointer is
replaced the previous version is current, and afterwards the new one is whole.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash
from upath import UPath

from vertical_assets.store.atomic import STAGING, is_local

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads

POINTER = "CURRENT.json"
PARTS = "_parts.json"  # Arrow passes names with an underscore over
MANIFEST, LOG, LOG_TABLE = "manifest.json", "training_log.jsonl", "training_log.csv"
PROVENANCE = frozenset(
    {MANIFEST, LOG, LOG_TABLE}
)  # how a result came about; not part of its content
ROWS_PER_BATCH = 8192
_CHUNK = 1 << 20


def store_root() -> UPath:
    """Root of the store: `VERTICAL_STORE` (any fsspec URL), by default `data/store`."""
    return UPath(os.environ.get("VERTICAL_STORE", "data/store"))


@dataclass(frozen=True)
class Staged:
    """A complete result that nobody sees yet; `commit` makes it the current version."""

    path: UPath
    version: str
    bytes: int
    rows: int | None = None  # this and what follows is a table's
    schema: "pa.Schema | None" = None
    preview: tuple[dict[str, Any], ...] = ()
    anew: bool = False  # what was there before can't be read any more


@dataclass(frozen=True)
class Table:
    """A handle on the current version of a table, of one or several partitions."""

    paths: tuple[UPath, ...]

    @property
    def version(self) -> str:
        """Data version; of several partitions, theirs in order."""
        return ",".join(path.name for path in self.paths)

    def dataset(self) -> "pads.Dataset":
        """The table as an Arrow dataset: columns and filters are pushed down to the files."""
        import pyarrow.dataset as pads

        from vertical_assets.store.encryption import file_format

        parts = [
            pads.dataset(
                [part.path.path for part in Table((path,)).parts()],
                filesystem=path.fs,
                format=file_format(path),
            )
            for path in self.paths
        ]
        return parts[0] if len(parts) == 1 else pads.dataset(parts)

    def read(self, columns: Sequence[str] | None = None) -> "pa.Table":
        from vertical_assets.store.encryption import reading

        with reading(*self.paths):
            return self.dataset().to_table(columns=list(columns) if columns else None)

    def parts(self) -> "list[Part]":
        """The table's parts, in order."""
        return [
            Part(**{**entry, "path": path / entry["path"]})
            for path in self.paths
            for entry in json.loads((path / PARTS).read_text())
        ]

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """Rows in order, a batch at a time: memory does not grow with the table."""
        for part in self.parts():
            yield from part.batches(columns)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts())


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table."""

    path: UPath
    key: str  # digest of all that it was made from
    rows: int
    bytes: int
    digest: str  # of its content
    figures: dict[str, int]  # sums that its maker kept, e.g. rows rejected

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        import pyarrow.parquet as pq

        from vertical_assets.store.encryption import decryption_properties, reading

        folder = self.path.parent
        with reading(folder), self.path.open("rb") as file:
            parquet = pq.ParquetFile(file, decryption_properties=decryption_properties(folder))
            names = list(columns) if columns else None
            # All groups at once would be kept in memory to the end: read-ahead caches them.
            for group in range(parquet.num_row_groups):
                yield from parquet.iter_batches(ROWS_PER_BATCH, [group], names)


@dataclass(frozen=True)
class Directory:
    """A handle on the current version of a model directory, on a local disk."""

    path: Path

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.path / MANIFEST).read_text())


def new_staging(root: UPath) -> UPath:
    """A new empty directory on the store's own file system, so that a rename can publish it."""
    path = root / STAGING / uuid.uuid4().hex
    path.mkdir(parents=True)
    return path


def stage_directory(root: UPath, source: Path) -> Staged:
    """Copies a finished local directory into staging.

    The version is a digest of every file's name and bytes; manifest and training log are
    excepted, since the same weights must give the same version however they came about.
    """
    digest = xxhash.xxh3_128()
    staging = new_staging(root)
    size = 0
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        name = file.relative_to(source).as_posix()
        target = staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        counted = name not in PROVENANCE
        if counted:
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
                size += len(chunk)
                if counted:
                    digest.update(chunk)
    return Staged(staging, digest.hexdigest(), size)


def commit(staged: Staged, entry: UPath) -> UPath:
    """Publishes a staged result as the current version of `entry`; returns its final path.

    Idempotent: content that is already there is kept, and the staged copy goes; what is told of it
    (what it was made from this time) takes the older one's place.
    """
    final = entry / staged.version
    entry.mkdir(parents=True, exist_ok=True)
    root = staged.path.parent.parent
    known = final.exists() if is_local(final) else _named(entry) == staged.version
    if known and staged.anew:
        withdraw(root, final)
        known = False
    if known:
        for name in (PARTS, *sorted(PROVENANCE)):  # the same parts, perhaps under newer keys
            if (staged.path / name).exists():
                _replace(staged.path / name, final / name)
        _remove(staged.path)
    else:
        move_over(staged.path, final)
    former = _named(entry)
    holder = new_staging(root)
    pointer = {"version": staged.version, "bytes": staged.bytes, "rows": staged.rows}
    (holder / POINTER).write_text(json.dumps(pointer))
    _replace(holder / POINTER, entry / POINTER)
    _remove(holder)
    if former != staged.version:  # which a running reader may still have open
        _prune(entry, {staged.version, former})
    return final


def move_over(source: UPath, target: UPath) -> None:
    """Moves a directory to its place: at once on a local disk, where nothing may be there.

    An object store gets file by file, each put whole, in the place of what a killed move has left;
    the manifest comes last.
    """
    if is_local(target):
        Path(source.path).rename(target.path)
        return
    files = sorted(source.fs.find(source.path), key=lambda path: path.endswith(f"/{MANIFEST}"))
    for file in files:
        target.fs.copy(file, f"{target.path}/{file.removeprefix(source.path).lstrip('/')}")
    _remove(source)


def current(entry: UPath) -> UPath:
    """Path of the current version.

    Raises:
        FileNotFoundError: nothing was ever published under `entry`.
    """
    version = _named(entry)
    if version is None:
        raise FileNotFoundError(
            f"nothing is stored under {entry}: materialize {'/'.join(entry.parts[-2:])} first"
        )
    return entry / version


def _named(entry: UPath) -> str | None:
    """The version that the pointer names; None where nothing was ever published."""
    try:
        return str(json.loads((entry / POINTER).read_text())["version"])
    except FileNotFoundError:
        return None


def current_versions(asset: UPath, partitions: Sequence[str]) -> dict[str, str]:
    """Partition -> its current version, of those that are stored."""
    found = {}
    for partition in partitions:
        try:
            found[partition] = current(asset / partition).name
        except FileNotFoundError:
            continue
    return found


def withdraw(root: UPath, entry: UPath) -> None:
    """Removes all that is stored under `entry`; it is out of sight at once, whole."""
    if not entry.exists():
        return
    aside = new_staging(root) / entry.name
    if is_local(entry):
        Path(entry.path).rename(aside.path)
    else:
        entry.fs.mv(entry.path, aside.path, recursive=True)
    _remove(aside.parent)


def sweep(root: UPath) -> None:
    """Removes what killed processes left in staging. Call it only while nothing runs."""
    if (root / STAGING).exists():
        _remove(root / STAGING)


def purge(folder: UPath) -> int:
    """Removes every version under `folder` that is not current; returns how many.

    For what must be gone, not only out of use: forgotten documents, tables from before encryption.
    """
    gone = 0
    for pointer in folder.glob("**/" + POINTER):
        # Listed first: what is published meanwhile is not in the list.
        there = [path for path in pointer.parent.iterdir() if path.is_dir()]
        keep = current(pointer.parent).name
        for version in there:
            if version.name != keep and not (version / POINTER).exists():
                _remove(version)
                gone += 1
    return gone


def link(existing: UPath, new: UPath) -> None:
    """The same immutable file under a second name; a copy where the file system has no links."""
    if is_local(existing):
        os.link(existing.path, new.path)
    else:
        existing.fs.copy(existing.path, new.path)


def local_directory(path: UPath) -> Path:
    """A model directory on the local disk: itself, or a copy of a remote one, fetched once but for
    its manifest, which `commit` may have replaced. The copy's place is that of the whole path: a
    release has the name of its artifact.
    """
    if is_local(path):
        return Path(path.path)
    root = Path(os.environ.get("VERTICAL_CACHE", "data/cache"))
    cache = root.joinpath(path.protocol, path.path.strip("/"))
    partial = cache.with_name(f"{path.name}.{uuid.uuid4().hex}")
    if not cache.exists():
        path.fs.get(path.path, str(partial), recursive=True)
        try:
            partial.rename(cache)
        except OSError:
            if not cache.exists():
                raise
            shutil.rmtree(partial)  # another step was faster
    elif (path / MANIFEST).exists():
        partial.write_bytes((path / MANIFEST).read_bytes())
        partial.replace(cache / MANIFEST)
    return cache


def _remove(directory: UPath) -> None:
    directory.fs.rm(directory.path, recursive=True)


def _replace(source: UPath, target: UPath) -> None:
    """Puts a file in another's place: atomic on a local disk, and one put on an object store."""
    if is_local(target):
        Path(source.path).replace(target.path)
    else:
        target.write_bytes(source.read_bytes())


def _prune(entry: UPath, kept: set[str | None]) -> None:
    for path in entry.iterdir():
        if path.is_dir() and path.name not in kept:
            _remove(path)
