"""Key-encryption keys: 256-bit keys that wrap the data keys of sensitive tables (SPEC X2).

They come from `VERTICAL_ENCRYPTION_KEY` or from `encryption.key` in `$VERTICAL_KEYS`, never from
the store or the repository. A key's id is told from the key itself, so that a key is known again
wherever it comes from, and tables written before a rotation say which key they need.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from upath import UPath

from vertical_assets.store.atomic import locked, replace

VARIABLE = "VERTICAL_ENCRYPTION_KEY"
FOLDER_VARIABLE, FOLDER = "VERTICAL_KEYS", "data/keys"
FILE = "encryption.key"
KEY_BYTES = 32  # AES-256 (SPEC X2)
_LEAST_DISTINCT_BYTES = 8  # 32 random bytes have fewer once in 10^36: a placeholder then


class EncryptionKeyError(Exception):
    """A key is missing, malformed or not safe where it lies; the message says the remedy."""


@dataclass(frozen=True)
class KeyRing:
    """Keys by id. New tables use `current`; the others only open what was written before."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)
    created: Mapping[str, str] = field(default_factory=dict)  # id -> ISO 8601; of the file's keys
    in_environment: frozenset[str] = frozenset()

    def wrap(self, data_key: bytes) -> bytes:
        """A data key, encrypted with the current key: AES key wrap (RFC 3394), with integrity."""
        from cryptography.hazmat.primitives.keywrap import aes_key_wrap

        return aes_key_wrap(self.keys[self.current], data_key)

    def unwrap(self, wrapped: bytes, key_id: str, file: UPath) -> bytes:
        """The data key that `file` holds.

        Raises:
            EncryptionKeyError: there is no such key, or the wrapped bytes were changed.
        """
        from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

        if key_id not in self.keys:
            raise EncryptionKeyError(
                f"{file} needs the key {key_id}, and there are only {', '.join(self.keys)}; put "
                f"that key back into {key_file()}, or add it to {VARIABLE} after a comma"
            )
        try:
            return aes_key_unwrap(self.keys[key_id], wrapped)
        except InvalidUnwrap:
            raise EncryptionKeyError(
                f"{file} was changed since it was written: its data key does not open with the key "
                f"{key_id}; restore the file from a backup, or materialize the table again"
            ) from None


def key_file() -> Path:
    """Where the keys are: `$VERTICAL_KEYS/encryption.key`, by default under `data/keys`."""
    return Path(os.environ.get(FOLDER_VARIABLE, FOLDER)) / FILE


def load_keys() -> KeyRing:
    """The keys of the environment and of the key file together; the environment's is current.

    The variable holds 64 hexadecimal digits or base64 of 32 bytes; several keys are separated by
    commas, the current one first.

    Raises:
        EncryptionKeyError: there is no key, one is malformed, or others may read the file.
    """
    given = {}
    for number, part in enumerate(filter(None, os.environ.get(VARIABLE, "").split(",")), 1):
        try:
            key = _parsed(part.strip())
        except ValueError as error:
            raise EncryptionKeyError(
                f"{VARIABLE}, key {number}: {error}; `openssl rand -hex 32` makes a key"
            ) from None
        given[key_id(key)] = key
    kept = _read(key_file())
    if kept is None and not given:
        raise EncryptionKeyError(
            f"no encryption key: neither {VARIABLE} nor {key_file()} is there; `vertical-assets "
            "keys create` makes the file, and a backup of it belongs in another place"
        )
    if kept is None:
        return KeyRing(next(iter(given)), given, in_environment=frozenset(given))
    current = next(iter(given), kept.current)
    return KeyRing(current, {**given, **kept.keys}, kept.created, frozenset(given))


def create_key() -> str:
    """Makes the key file with one new random key (mode 0600); returns the key's id.

    Raises:
        EncryptionKeyError: the file exists, or the environment holds the keys.
    """
    file = key_file()
    if os.environ.get(VARIABLE):
        raise EncryptionKeyError(
            f"the keys come from {VARIABLE}, a file would not be used; unset it first"
        )
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(UPath(file.parent)):
        if file.exists():
            raise EncryptionKeyError(
                f"{file} exists already and its tables need it; `vertical-assets keys rotate` "
                "makes a new key and keeps the tables readable"
            )
        return add_key(None).current


def add_key(ring: KeyRing | None) -> KeyRing:
    """Writes the key file with one more key, now the current one. Hold the folder's lock."""
    key = secrets.token_bytes(KEY_BYTES)
    name, now = key_id(key), datetime.now(UTC).isoformat(timespec="seconds")
    if ring is None:
        return _write(KeyRing(name, {name: key}, {name: now}))
    return _write(KeyRing(name, {**ring.keys, name: key}, {**ring.created, name: now}))


def drop_keys(ring: KeyRing, dropped: set[str]) -> KeyRing:
    """Writes the key file without some keys: what they wrapped is lost for good."""
    kept = {name: key for name, key in ring.keys.items() if name not in dropped}
    return _write(KeyRing(ring.current, kept, {n: ring.created[n] for n in kept}))


def key_id(key: bytes) -> str:
    """Eight bytes of SHA-256 over a label and the key: they tell nothing about a random key."""
    return hashlib.sha256(b"vertical-assets key id\0" + key).hexdigest()[:16]


def _write(ring: KeyRing) -> KeyRing:
    entries = {
        name: {"key": key.hex(), "created_at": ring.created[name]}
        for name, key in ring.keys.items()
    }
    content = json.dumps({"current": ring.current, "keys": entries}, indent=2)
    replace(UPath(key_file()), content.encode(), mode=0o600)
    return ring


def _read(file: Path) -> KeyRing | None:
    try:
        content = file.read_text()
        mode = file.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise EncryptionKeyError(
            f"{file} can't be read ({error.strerror}): run as its owner, or give the key in "
            f"{VARIABLE}"
        ) from error
    if mode & 0o077:
        raise EncryptionKeyError(
            f"{file} has mode {mode:04o}: others may read the key; run `chmod 600 {file}` (a "
            f"Kubernetes secret: defaultMode 0400), or give the key in {VARIABLE}"
        )
    try:
        data = json.loads(content)
        keys = {name: _parsed(entry["key"]) for name, entry in data["keys"].items()}
        created = {name: str(entry["created_at"]) for name, entry in data["keys"].items()}
        wrong = [name for name, key in keys.items() if key_id(key) != name]
        if wrong or data["current"] not in keys:
            raise ValueError(f"the key {(wrong or [data['current']])[0]} is not what its id says")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncryptionKeyError(
            f"{file} is damaged ({error}); restore it from its backup"
        ) from error
    return KeyRing(data["current"], keys, created)


def _parsed(text: str) -> bytes:
    """A key from its text; a ValueError says what is wrong, and never the text."""
    try:
        hexadecimal = len(text) == 2 * KEY_BYTES
        key = bytes.fromhex(text) if hexadecimal else base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("not 64 hexadecimal digits nor base64 of 32 bytes")
    if len(set(key)) < _LEAST_DISTINCT_BYTES:
        raise ValueError("a placeholder, not a random key")
    return key
