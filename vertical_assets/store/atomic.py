"""Small files that are replaced whole: a reader sees the old bytes or the new ones, never a mix."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

STAGING = ".staging"  # folder of a store in which results are written until they are whole


def is_local(path: UPath) -> bool:
    """Whether a path lies on a file system of this machine."""
    return path.protocol in ("", "file", "local")


def replace(path: UPath, data: bytes, mode: int = 0o666) -> None:
    """Puts `data` in a file's place, and on the disk before this returns.

    Local: temporary file, fsync, rename. An object store puts an object whole by itself.

    Args:
        path: the file; its folder must exist.
        data: all of its new bytes.
        mode: permissions of a local file, less the umask.

    Two writers of one file need `locked` around this: they share the temporary name, so that
    what a killed writer left there goes with the next write.
    """
    if not is_local(path):
        path.write_bytes(data)
        return
    target = Path(path.path)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)  # a file that is already there would keep its permissions
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(folder: UPath, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock of a folder, among the processes of one machine; waits for it.

    flock(2) on the folder itself: no lock file is left behind, a killed process lets go, and a
    folder that may only be read can be locked too. A remote folder, or one that does not exist,
    has no lock.
    """
    if not is_local(folder) or not folder.is_dir():
        yield
        return
    handle = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_locked(folder: UPath) -> bool:
    """Whether some process of this machine holds the lock of a folder."""
    if not is_local(folder) or not folder.is_dir():
        return False
    handle = os.open(folder.path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
