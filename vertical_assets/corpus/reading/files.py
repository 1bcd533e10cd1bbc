"""Files: which ones a source has, of which format, and how their bytes are reached."""

import bz2
import gzip
import lzma
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from upath import UPath

from vertical_assets.spec import Source

COPY_BYTES = 1 << 20
CODECS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: BufferedReader(pa.input_stream(path, compression="zstd")),
}
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "lines",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}


class SourceError(Exception):
    """A source that can't be read at all; the message names it and the remedy."""


class UnreadableError(Exception):
    """A file that can't be read; `rule` says what kind of fault it is, the message why."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def files_of(source: Source, data: UPath) -> list[UPath]:
    """The source's files, sorted by name.

    Args:
        source: its declaration; `path` or `resource` is a file, a folder (all files below it) or
            a glob (`*`, `?`, `[...]`, `**` for any number of folders; hidden files are left out).
        data: folder that a relative `path` starts from, `data/<vertical>/`.

    Raises:
        SourceError: a package is not installed, or nothing matches.
    """
    return list(named_files(source, data).values())


def named_files(source: Source, data: UPath) -> dict[str, UPath]:
    """As `files_of`, by their names relative to the last folder above all wildcards."""
    if source.package is not None:
        if find_spec(source.package) is None:
            raise SourceError(
                f"source {source.name!r}: package {source.package!r} is not installed; "
                "install it (the extra 'demo' holds the packages of the shipped verticals)"
            )
        path = UPath(str(resources.files(source.package))) / str(source.resource)
    else:
        path = UPath(str(source.path))
        if not path.is_absolute() and "://" not in str(source.path):
            path = data / str(source.path)
    if path.is_file():
        return {_name(path.relative_to(path.parent)): path}
    root, pattern = path, "**/*"
    if not path.is_dir():
        parts = (path, *path.parents)
        wild = [part for part in parts if any(sign in part.name for sign in "*?[")]
        root = wild[-1].parent if wild else path.parent
        pattern = path.relative_to(root).as_posix()
    named = {_name(file.relative_to(root)): file for file in root.glob(pattern)}
    found = {
        name: named[name]
        for name in sorted(named)
        if not any(part.startswith(".") for part in PurePosixPath(name).parts)
        and named[name].is_file()
    }
    if not found:
        raise SourceError(
            f"source {source.name!r}: no file at {root / pattern}; "
            f"put it there or correct the source's {'resource' if source.package else 'path'}"
        )
    return found


def _name(path: UPath) -> str:
    """A relative path as text, also where its bytes are none (archives of other systems)."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def format_of(source: Source, name: str) -> str | None:
    """The source's format, or the one that the file's ending tells."""
    inner = PurePosixPath(name).with_suffix("") if compressed(name) else PurePosixPath(name)
    return source.format or FORMATS.get(inner.suffix.lower())


def compressed(name: str) -> bool:
    """Whether the file's ending says so."""
    return PurePosixPath(name).suffix.lower() in CODECS


def is_local(file: UPath) -> bool:
    """Whether the file is one of this machine."""
    return file.protocol in ("", "file", "local")


@contextmanager
def local_copy(file: UPath) -> Iterator[Path]:
    """A path on this machine: the file's own, or that of a copy which goes afterwards.

    Raises:
        SourceError: a remote file can't be fetched.
    """
    if is_local(file):
        yield Path(file.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(file.path).name
        try:
            with file.open("rb") as remote, copy.open("wb") as local:
                shutil.copyfileobj(remote, local, COPY_BYTES)
        except Exception as error:  # every file system has its own
            raise SourceError(f"{file} can't be fetched: {error}") from error
        yield copy


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """The bytes of a file, decompressed where its ending says so."""
    codec = CODECS.get(path.suffix.lower())
    with codec(path) if codec else path.open("rb") as bytes_:
        yield bytes_
