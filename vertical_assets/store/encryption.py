"""Encryption at rest: the Parquet files of a sensitive table are AES-256-GCM through and through.

Parquet modular encryption seals every page and the footer, hence schema, statistics and rows
alike. One random 256-bit data key belongs to the versions of a table. It lies beside the data,
wrapped by a key-encryption key:

    <digest>/part-*.parquet    encrypted, footers too (magic bytes PARE)
    <digest>/_key.json         {"key_id": ..., "wrapped_key": ...}; Arrow datasets pass it over

Rotation replaces `_key.json` only: the data and their version stay. pyarrow's own key files can't
do this: its datasets don't find them (25.0), and its rotation deletes the old one before the new
one is in place, so that a kill in between loses the table.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from upath import UPath

from vertical_assets.store.atomic import STAGING, locked, replace
from vertical_assets.store.keys import (
    KEY_BYTES,
    EncryptionKeyError,
    KeyRing,
    add_key,
    drop_keys,
    key_file,
    load_keys,
)

if TYPE_CHECKING:
    import pyarrow.dataset as pads
    from pyarrow.parquet.encryption import FileDecryptionProperties, FileEncryptionProperties

ALGORITHM = "AES_GCM_V1"  # every module authenticated; AES_GCM_CTR_V1 leaves pages unprotected
SIDECAR = "_key.json"
MAGIC = b"PARE"  # first and last bytes of a Parquet file with an encrypted footer


class DecryptionError(Exception):
    """Encrypted data were changed since they were written; the message names the table."""


@dataclass(frozen=True)
class Rotation:
    """What `rotate` did."""

    current: str  # id of the key that every table now uses
    created: bool  # a new key was made; otherwise an unfinished rotation was finished
    rewrapped: int  # table versions
    unchanged: int
    dropped: tuple[str, ...]  # ids of the keys that are gone from the key file


@dataclass(frozen=True)
class KeyState:
    """A key, and how many table versions of the store need it."""

    key_id: str
    current: bool
    origin: str  # environment | file | missing
    created_at: str | None
    tables: int


def writer_properties(directory: UPath, like: UPath | None = None) -> "FileEncryptionProperties":
    """Gives a new table version its data key; for every `pq.ParquetWriter` of its parts.

    AES-GCM allows 2^32 modules under one key with random nonces (NIST SP 800-38D, 8.3); a module
    is a page of about a megabyte, its header or a footer, so that no table comes near.

    Args:
        directory: the version's folder while it is being staged; `_key.json` is put there.
        like: an encrypted version that parts are taken over from: they keep their data key, so
            the new version has the same one. A new random one where not given.

    Raises:
        EncryptionKeyError: there is no key, or the directory has one already.
    """
    from pyarrow.parquet.encryption import create_encryption_properties

    # Shared with other writers: a rotation waits, so that no table appears behind its back.
    with locked(UPath(key_file().parent), shared=True):
        if is_encrypted(directory):
            raise EncryptionKeyError(
                f"{directory / SIDECAR} exists: its data key must not be lost; "
                "stage the table in a directory of its own"
            )
        ring = load_keys()
        data_key = _unseal(like / SIDECAR, ring) if like else secrets.token_bytes(KEY_BYTES)
        _seal(directory / SIDECAR, data_key, ring)
    return create_encryption_properties(data_key, encryption_algorithm=ALGORITHM)


def is_encrypted(path: UPath) -> bool:
    """Whether a table version (a directory), or one Parquet file by its magic bytes, is so."""
    if path.is_dir():
        return (path / SIDECAR).exists()
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def decryption_properties(directory: UPath) -> "FileDecryptionProperties | None":
    """For `pq.ParquetFile` and friends; None where the table version is not encrypted.

    Raises:
        EncryptionKeyError: the key is not there, or `_key.json` was changed.
    """
    from pyarrow.parquet.encryption import create_decryption_properties

    if not is_encrypted(directory):
        return None
    return create_decryption_properties(_unseal(directory / SIDECAR, load_keys()))


def file_format(directory: UPath) -> "pads.ParquetFileFormat":
    """For `pyarrow.dataset.dataset(format=...)`, whether the table version is encrypted or not.

    Don't combine it with `exclude_invalid_files`: a part whose last bytes were changed would be
    left out without a word. Nor does it survive pickling: Arrow drops the key.

    Raises:
        EncryptionKeyError: as `decryption_properties`.
    """
    import pyarrow.dataset as pads

    properties = decryption_properties(directory)
    options = pads.ParquetFragmentScanOptions(decryption_properties=properties)
    return pads.ParquetFileFormat(default_fragment_scan_options=options)


@contextmanager
def reading(*directories: UPath) -> Iterator[None]:
    """Goes around every read of table versions: says in plain words what Arrow says in its own.

    Raises:
        DecryptionError: the bytes of an encrypted table do not pass AES-GCM's authentication.
    """
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        # Arrow says it in bare OSErrors; one of the operating system has a type or a number.
        foreign = type(error) not in (OSError, pa.ArrowInvalid) or getattr(error, "errno", None)
        encrypted = [path for path in directories if _has_encrypted_part(path)]
        if foreign or not encrypted:
            raise
        names = ", ".join(map(str, encrypted))
        raise DecryptionError(
            f"{names}: the encrypted data or their {SIDECAR} were changed or lost since they were "
            f"written ({str(error).strip()}); restore them from a backup, or remove "
            "the asset's folder and materialize again"
        ) from error


def rotate(root: UPath, *, drop_retired: bool = False) -> Rotation:
    """Makes a new key, and wraps the data keys of all tables with it; data versions stay.

    May be killed at any moment and called again: retired keys stay in the key file, each
    `_key.json` is replaced at once, and an unfinished rotation is finished before another one
    begins. Where the keys come from the environment, put the new one in front, call this, then
    take the old one away.

    Args:
        root: the store; staging and versions that are kept are included.
        drop_retired: removes the keys that no table under `root` uses any more from the key file.
            Only where no other store and no backup needs them.

    Raises:
        EncryptionKeyError: a table's key is not there; the tables before it are done.
    """
    with locked(UPath(key_file().parent)):
        ring = load_keys()
        created = not ring.in_environment and set(_needed(root).values()) <= {ring.current}
        if created:
            ring = add_key(ring)
        rewrapped = 0
        while outdated := [path for path, key in _needed(root).items() if key != ring.current]:
            for sidecar in outdated:
                try:
                    _seal(sidecar, _unseal(sidecar, ring), ring)
                except FileNotFoundError:  # published or removed meanwhile; the next look tells
                    continue
                rewrapped += 1
        retired = set(ring.keys) - {ring.current}
        dropped = retired if drop_retired and not ring.in_environment else set[str]()
        if dropped:
            drop_keys(ring, dropped)
        unchanged = len(_needed(root)) - rewrapped
        return Rotation(ring.current, created, rewrapped, unchanged, tuple(sorted(dropped)))


def key_status(root: UPath) -> list[KeyState]:
    """Every key, the current one first, and how many table versions need it.

    A key that tables need and that is nowhere has the origin `missing`.
    """
    needed = list(_needed(root).values())
    ring = load_keys()
    origins = dict.fromkeys(sorted(needed), "missing")
    origins |= {
        name: "environment" if name in ring.in_environment else "file" for name in ring.keys
    }
    return [
        KeyState(name, name == ring.current, origin, ring.created.get(name), needed.count(name))
        for name, origin in sorted(origins.items(), key=lambda item: item[0] != ring.current)
    ]


def _seal(sidecar: UPath, data_key: bytes, ring: KeyRing) -> None:
    content = {"key_id": ring.current, "wrapped_key": ring.wrap(data_key).hex()}
    replace(sidecar, json.dumps(content).encode())


def _unseal(sidecar: UPath, ring: KeyRing) -> bytes:
    key_id, wrapped = _read(sidecar)
    return ring.unwrap(wrapped, key_id, sidecar)


def _read(sidecar: UPath) -> tuple[str, bytes]:
    try:
        content = json.loads(sidecar.read_bytes())
        return str(content["key_id"]), bytes.fromhex(content["wrapped_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise DecryptionError(
            f"{sidecar} is damaged ({error!r}): restore it from a backup, or materialize again"
        ) from error


def _needed(root: UPath) -> dict[UPath, str]:
    """The key id that each table version of the store needs, by its `_key.json`."""
    while True:
        try:
            # Staging first: what is published meanwhile is then met in its new place.
            found = [*(root / STAGING).rglob(SIDECAR), *root.rglob(SIDECAR)]
            return {sidecar: _read(sidecar)[0] for sidecar in found}
        except FileNotFoundError:  # a version was published or removed meanwhile: look again
            continue


def _has_encrypted_part(directory: UPath) -> bool:
    return is_encrypted(directory) or any(map(is_encrypted, directory.glob("*.parquet")))
