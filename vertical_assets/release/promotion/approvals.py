"""People's word on releases: who approved or refused which digest, when and why (SPEC O3).

`data/<vertical>/approvals.jsonl`, a JSON object per line, in the order in which they were said:

    {"release": "<digest>", "verdict": "approved", "by": "...", "reason": "...", "at": "<ISO 8601>"}

The last line about a digest counts, and about that digest only.
"""

import json
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import xxhash
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationError
from upath import UPath

from vertical_assets.spec.section import Strict
from vertical_assets.store import atomic

FILE = "approvals.jsonl"


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Line(Strict):
    """One line of the file."""

    model_config = ConfigDict(str_strip_whitespace=True)

    release: str = Field(pattern=r"^[0-9a-f]{32}$")
    verdict: Literal["approved", "refused"]
    by: Words
    reason: Words
    at: Annotated[str, AfterValidator(_time)]


@dataclass(frozen=True)
class Approval:
    """What a person said of a release."""

    release: str
    approved: bool
    by: str
    reason: str
    at: str

    @property
    def words(self) -> str:
        """In a sentence, for the history."""
        verb = "approved" if self.approved else "refused"
        return f"{verb} by {self.by} at {self.at}: {self.reason}"


@dataclass(frozen=True)
class Approvals:
    """All that was said, and the lines that say nothing.

    Attributes:
        said: in the order of the file.
        rejected: `line`, `reason`.
    """

    said: tuple[Approval, ...] = ()
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def of(self, release: str) -> Approval | None:
        """The last word on a release."""
        return next((each for each in reversed(self.said) if each.release == release), None)


def read_approvals(file: UPath) -> Approvals:
    """The file's lines; nothing where there is none. A broken line approves nothing."""
    try:
        lines = file.read_bytes().removeprefix(BOM_UTF8).splitlines()
    except FileNotFoundError:
        return Approvals()
    said, rejected = list[Approval](), list[dict[str, Any]]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            read = Line.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the line"
            rejected.append({"line": number, "reason": f"{place}: {first['msg']}"})
            continue
        approved = read.verdict == "approved"
        said.append(Approval(read.release, approved, read.by, read.reason, read.at))
    return Approvals(tuple(said), rejected)


def record(file: UPath, release: str, approved: bool, by: str, reason: str) -> Approval:
    """Adds a line to the file.

    Raises:
        ValueError: a name or a reason is missing.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    verdict = "approved" if approved else "refused"
    try:
        line = Line(release=release, verdict=verdict, by=by, reason=reason, at=now)
    except ValidationError as error:
        names = ", ".join(str(each["loc"][0]) for each in error.errors())
        raise ValueError(f"{names}: say who decides and why") from error
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic.locked(file.parent):
        before = file.read_bytes() if file.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        after = json.dumps(line.model_dump(), ensure_ascii=False).encode() + b"\n"
        atomic.replace(file, before + after)
    return Approval(release, approved, line.by, line.reason, now)


def approvals_fingerprint(file: UPath) -> str:
    """Digest of the file's bytes; "missing" where there is none."""
    try:
        return xxhash.xxh3_128_hexdigest(file.read_bytes())
    except FileNotFoundError:
        return "missing"
