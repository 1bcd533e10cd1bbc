"""What is written instead of personal data: a stand-in keyed by a secret, or only the type.

`[PHONEbdfghjklmn]`: type and ten consonants between brackets, HMAC-SHA256 (RFC 2104) of type and
normalised value. The same number stays the same across documents, sources and ways of writing it,
and nobody without the secret can test a guess. No digit in it, so that no normalisation of numbers
and no recogniser touches it; no vowel, so that it is no word; no inner punctuation, so that
segmentation leaves it whole. Ten consonants are 40 bits: among 100,000 people two share a
stand-in with a chance of 0.5 %.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from vertical_assets.corpus.personal.personal_numbers import digits, e164

_LETTERS = "bcdfghjklmnpqrst"
_LENGTH = 10
MIN_SECRET = 16  # characters in the environment, bytes in a file


class Pseudonyms:
    """Writes stand-ins; knows the secret and shows it to nobody."""

    def __init__(self, secret: bytes | None) -> None:
        """
        Args:
            secret: key of the stand-ins; None writes the type alone (`action: mask`).

        Raises:
            ValueError: the secret is shorter than 16 bytes.
        """
        if secret is not None and len(secret) < MIN_SECRET:
            raise ValueError(
                f"the secret of the pseudonyms has {len(secret)} bytes and needs {MIN_SECRET}; set "
                "VERTICAL_PSEUDONYM_KEY to the output of `openssl rand -hex 32`"
            )
        self._secret = secret

    def __repr__(self) -> str:
        return f"Pseudonyms({'mask' if self._secret is None else 'keyed'})"

    def of(self, entity: str, value: str) -> str:
        """The stand-in of a value, e.g. `[PHONEbdfghjklmn]`, or `[PHONE]` where masked."""
        label = entity.replace("_", "")
        if self._secret is None:
            return f"[{label}]"
        message = f"{entity}\0{normalized(entity, value)}".encode()
        digest = hmac.digest(self._secret, message, hashlib.sha256)[: _LENGTH // 2]
        letters = (_LETTERS[nibble] for byte in digest for nibble in (byte >> 4, byte & 15))
        return f"[{label}{''.join(letters)}]"


def normalized(entity: str, value: str) -> str:
    """What all ways of writing one value have in common."""
    if entity == "PHONE":
        return e164(re.sub(r"^\((\+?86)\)", r"\1", value)) or digits(value)
    if entity in ("BANK_CARD", "SSN"):
        return digits(value)
    if entity == "NAME":
        return " ".join(value.casefold().split())
    if entity in ("EMAIL", "URL", "IP"):
        return value.casefold()
    return re.sub(r"[\s.·-]", "", value).upper()


def secret_key(environ: Mapping[str, str] = os.environ) -> bytes:
    """The secret of the pseudonyms.

    `VERTICAL_PSEUDONYM_KEY` (hexadecimal, or any text of at least 16 characters), else the file
    `pseudonym.key` in `$VERTICAL_KEYS` (by default `data/keys`), made with 32 random bytes and
    mode 0600 where it does not exist. Whoever loses it gets other pseudonyms from then on.

    Raises:
        ValueError: the text or the file is too short to be a secret.
    """
    if text := environ.get("VERTICAL_PSEUDONYM_KEY"):
        return _decoded(text, "VERTICAL_PSEUDONYM_KEY")
    path = Path(environ.get("VERTICAL_KEYS", "data/keys")) / "pseudonym.key"
    if not path.exists():
        _create(path)
    return _decoded(path.read_text(), str(path))


def _decoded(text: str, origin: str) -> bytes:
    text = text.strip()
    if len(text) < MIN_SECRET:
        raise ValueError(
            f"{origin} holds {len(text)} characters; a secret needs at least {MIN_SECRET}, e.g. "
            "the output of `openssl rand -hex 32`"
        )
    return bytes.fromhex(text) if re.fullmatch("(?:[0-9a-fA-F]{2}){16,}", text) else text.encode()


def _create(path: Path) -> None:
    """Writes a new secret; of processes that race the first wins and none reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # fails where the other process has been faster
    except FileExistsError:
        pass
    finally:
        draft.unlink()
