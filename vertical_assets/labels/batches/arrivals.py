"""Arrivals: which files of people's labels are whole, and what is wrong with the others (SPEC D7).

A batch is a file below `data/<vertical>/` that `annotation.path` names; its key is the file's name
without endings. Files of one name and several endings, or in several folders, are one batch. The
folder is the record: a file with new bytes is the same batch, and a file that is taken away takes
its labels with it.

A file is read once it has settled: nothing changed for some seconds, by its own times or by what an
earlier look saw. Hidden files and those named as unfinished are never looked at. A file that no row
can be used of is set aside in `rejected/` beside it, with the reason as a text file; that takes a
longer rest, since a writer that pauses would otherwise lose its file.
"""

import json
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash
from upath import UPath

from vertical_assets.alerts import alert
from vertical_assets.corpus.reading.files import FORMATS, compressed, named_files
from vertical_assets.corpus.reading.sources import SourceError, drop_folder, work_folder
from vertical_assets.labels.files import is_finished, people, rows_of
from vertical_assets.labels.items import names_item
from vertical_assets.labels.statements import annotator_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import SIMULATED
from vertical_assets.store.atomic import is_local, locked, replace

SETTLED_SECONDS = 5.0
MALFORMED_SECONDS = 20.0
REJECTED, REASON = "rejected", ".error.txt"
LOOKS = "annotations.json"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Batch:
    """A batch that may be read."""

    key: str
    files: tuple[UPath, ...]
    digest: str  # of its files' names and bytes


@dataclass(frozen=True)
class Malformed:
    """A file of which no row can be used."""

    file: UPath
    digest: str
    reason: str


@dataclass(frozen=True)
class Arrivals:
    """What one look at the drop folder found.

    Attributes:
        batches: what may be read, in the order of the keys.
        unsettled: keys of which a file is still being written.
        malformed: files to be set aside.
        reachable: whether the folder is there; if not, nothing can be said about its files.
    """

    batches: tuple[Batch, ...] = ()
    unsettled: tuple[str, ...] = ()
    malformed: tuple[Malformed, ...] = ()
    reachable: bool = True


def key_of(name: str) -> str:
    """A batch's key, from the name of its file: letters, digits, `_`, `-` and `.`."""
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    path = path.with_suffix("") if compressed(path.name) else path
    stem = path.stem if path.suffix.lower() in (*FORMATS, ".json") else path.name
    key = re.sub(r"[^\w.-]+", "_", stem).strip(".") or "batch"
    return f"{key}_file" if key == SIMULATED else key


def files_by_batch(spec: VerticalSpec) -> dict[str, list[UPath]]:
    """Key -> files that are there, whole or not."""
    found: dict[str, list[UPath]] = {}
    if spec.annotation.path is None:
        return found
    try:
        named = named_files(people(spec.annotation.path), drop_folder(spec.name))
    except SourceError:
        return found
    for name, file in named.items():
        inside = PurePosixPath(name).parts[:-1]
        if REJECTED not in inside and is_finished(file):
            found.setdefault(key_of(file.name), []).append(file)
    return dict(sorted(found.items()))


def batch_of(spec: VerticalSpec, key: str) -> Batch:
    """A batch by its key, as its files are now.

    Raises:
        SourceError: none of its files is there.
    """
    files = files_by_batch(spec).get(key)
    if not files:
        raise SourceError(
            f"no file of batch {key!r} is below {_folder_of(spec)}; put it back, or let "
            f"`vertical-assets build {spec.name}` remove the batch"
        )
    digests = {file: _digest(file) for file in files}
    usable = tuple(file for file in files if _fault(file, spec) is None)
    return Batch(key, usable, _digest_of({file: digests[file] for file in usable}))


def arrivals(spec: VerticalSpec, now: float | None = None) -> Arrivals:
    """Looks at the drop folder; nothing is moved.

    What a look saw is kept in `work_folder`, so that a file is hashed and tried once.

    Args:
        spec: sections `name`, `annotation`.
        now: seconds since the epoch; the present by default.
    """
    now = time.time() if now is None else now
    memory = work_folder(spec.name) / "fingerprints" / LOOKS
    before, after = _remembered(memory), {}
    batches, unsettled, malformed = [], [], []
    for key, files in files_by_batch(spec).items():
        usable: dict[UPath, str] = {}
        for file in files:
            try:
                look = after[str(file)] = _look(file, before.get(str(file)), now, spec)
            except OSError:  # it went meanwhile, or can't be read as yet
                look = {}
            if not look.get("digest"):
                unsettled.append(key)
            elif look["fault"] is None:
                usable[file] = look["digest"]
            elif _rest(file, look, now) >= MALFORMED_SECONDS:
                malformed.append(Malformed(file, look["digest"], look["fault"]))
            else:
                unsettled.append(key)
        if usable and key not in unsettled:
            batches.append(Batch(key, tuple(usable), _digest_of(usable)))
    if after != before:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with locked(UPath(memory.parent)):  # the daemon and a build may look at the same moment
            replace(UPath(memory), json.dumps(after).encode())
    return Arrivals(
        tuple(batches),
        tuple(dict.fromkeys(unsettled)),
        tuple(malformed),
        _folder_of(spec).is_dir(),
    )


def unsettled(spec: VerticalSpec) -> tuple[str, ...]:
    """Keys of batches that are still being written, after a wait for files just copied."""
    patience = time.monotonic() + SETTLED_SECONDS + 1
    while (waiting := arrivals(spec).unsettled) and time.monotonic() < patience:
        time.sleep(0.5)
    return waiting


def set_aside(malformed: Malformed, spec: VerticalSpec) -> UPath | None:
    """Moves a file to `rejected/` beside it, with the reason in a text file; tells by an alert.

    The reason is written first and the alert has a key, so that a process killed at any moment
    leaves either the file in its place, to be set aside again, or all of it done.

    Returns:
        Where the file is now; None where somebody has mended it or taken it away meanwhile.
    """
    file = malformed.file
    try:
        if _digest(file) != malformed.digest:
            return None
    except FileNotFoundError:
        return None
    folder = file.parent / REJECTED
    folder.mkdir(parents=True, exist_ok=True)
    # The digest tells files apart that came under one name.
    name = PurePosixPath(file.name)
    target = folder / f"{name.stem}.{malformed.digest[:8]}{name.suffix}"
    text = (
        f"{file.name} was set aside: {malformed.reason}\n"
        f"Mend it and put it back into {file.parent}.\n"
    )
    replace(folder / f"{target.name}{REASON}", text.encode())
    alert(
        "malformed_batch",
        spec.name,
        f"{file.name} was set aside as {target}: {malformed.reason}",
        key=f"malformed {spec.name} {file.name} {malformed.digest}",
        file=file.name,
    )
    if is_local(file):
        Path(file.path).replace(target.path)
    else:
        file.fs.mv(file.path, target.path)
    return target


def _look(
    file: UPath, before: Mapping[str, Any] | None, now: float, spec: VerticalSpec
) -> dict[str, Any]:
    """What is known of a file: its stamp, since when it has it, and once settled digest, fault."""
    stat = file.stat()
    stamp = f"{stat.st_size} {stat.st_mtime} {getattr(stat, 'st_ctime', 0)}"
    if before is None or before["stamp"] != stamp:
        before = {"stamp": stamp, "since": now, "digest": None, "fault": None}
    if before["digest"] is None and _rest(file, before, now) >= SETTLED_SECONDS:
        return {**before, "digest": _digest(file), "fault": _fault(file, spec)}
    return dict(before)


def _rest(file: UPath, look: Mapping[str, Any], now: float) -> float:
    """Seconds for which a file has been as it is; objects of a store come whole."""
    if not is_local(file):
        return MALFORMED_SECONDS
    stat = Path(file.path).stat()
    return now - min(look["since"], max(stat.st_mtime, stat.st_ctime))


def _fault(file: UPath, spec: VerticalSpec) -> str | None:
    """Why no row of a file can be used; None from the first one that can."""
    rows, first = 0, None
    try:
        for row in rows_of(file, spec):
            values, rows = row.values, rows + 1
            if row.rule is None and names_item(values) and annotator_of(values):
                return None
            first = (
                first
                or row.reason
                or (
                    f"{row.place}: a row names its item by 'item_id', or by 'source' and 'id', and "
                    f"who says it by 'annotator_id'; this one has {', '.join(map(str, values))}"
                )
            )
    except SourceError as error:
        return str(error)
    return f"none of its {rows} rows can be used; the first: {first}"


def _digest_of(files: Mapping[UPath, str]) -> str:
    """Digest of a batch, from its files' names and digests."""
    lines = (f"{file.name}\0{digest}\0" for file, digest in files.items())
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())


def _digest(file: UPath) -> str:
    digest = xxhash.xxh3_128()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _remembered(memory: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(memory.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _folder_of(spec: VerticalSpec) -> UPath:
    """The last folder above all wildcards of `annotation.path`."""
    path = UPath(str(spec.annotation.path))
    if not path.is_absolute() and "://" not in str(spec.annotation.path):
        path = drop_folder(spec.name) / str(spec.annotation.path)
    wild = [part for part in (path, *path.parents) if any(sign in part.name for sign in "*?[")]
    if wild:
        return wild[-1].parent
    return path.parent if path.suffix else path  # a file, or a folder
