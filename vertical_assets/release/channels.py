"""Releases and channels: immutable directories, and which of them is served (SPEC O3, E7).

    <root>/<vertical>/releases/<digest>/       artifact/ and what is said of it; never changed
    <root>/<vertical>/releases/channels.json   champion, challenger, its share, withdrawn, history

A release is named by its artifact's content. Light: a rollback loads no model library.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from vertical_assets.store import atomic
from vertical_assets.store.versions import local_directory, new_staging, stage_directory

if TYPE_CHECKING:
    from vertical_assets.release.predictor import Predictor

FOLDER, CHANNELS, ARTIFACT = "releases", "channels.json", "artifact"


class ReleaseError(Exception):
    """A release that is not there or may not be served; the message says what can be done."""


@dataclass(frozen=True)
class Channels:
    """What is served.

    Attributes:
        champion: digest of the release that answers.
        challenger: digest of the release that is compared with it on live requests.
        split: share of requests that the challenger answers (E7).
        withdrawn: releases that were rolled back from; only a person brings one back.
        history: what changed, oldest first: `at` (ISO 8601, UTC), `channel`, `release`, `was`,
            `reason`.
    """

    champion: str | None = None
    challenger: str | None = None
    split: float = 0.5
    withdrawn: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = ()


def releases_folder(root: UPath, vertical: str) -> UPath:
    """Where a vertical's releases are."""
    return root / vertical / FOLDER


def read_channels(folder: UPath) -> Channels:
    """The channels of a releases folder; empty before the first release."""
    try:
        found = json.loads((folder / CHANNELS).read_text())
    except FileNotFoundError:
        return Channels()
    return Channels(
        **{**found, "withdrawn": tuple(found["withdrawn"]), "history": tuple(found["history"])}
    )


def store_release(root: UPath, vertical: str, artifact: Path, files: Mapping[str, str]) -> str:
    """Stores an artifact and texts beside it (path -> content) as a release; returns its digest.

    It appears whole. One that is there already stays as it is.
    """
    folder = releases_folder(root, vertical)
    staged = stage_directory(root, artifact)
    final = folder / staged.version
    whole = new_staging(root)
    folder.mkdir(parents=True, exist_ok=True)
    staged.path.fs.mv(staged.path.path, (whole / ARTIFACT).path, recursive=True)
    for name, text in files.items():
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).write_text(text, encoding="utf-8")
    with atomic.locked(folder):
        if final.exists():
            whole.fs.rm(whole.path, recursive=True)
        elif atomic.is_local(final):
            Path(whole.path).rename(final.path)
        else:
            whole.fs.mv(whole.path, final.path, recursive=True)
    return staged.version


def set_channel(
    folder: UPath, channel: str, release: str, reason: str, split: float | None = None
) -> Channels:
    """Puts a release into `champion` or `challenger`; a new champion leaves no challenger.

    Raises:
        ReleaseError: the release is not there, or was withdrawn.
    """
    if channel not in ("champion", "challenger"):
        raise ValueError(f"there is no channel {channel!r}; use 'champion' or 'challenger'")
    with atomic.locked(folder):
        before = read_channels(folder)
        _present(folder, release)
        if release in before.withdrawn:
            raise ReleaseError(
                f"release {release} was rolled back from; bring it back by "
                f"vertical-assets rollback {folder.parent.name} --to {release}"
            )
        was = getattr(before, channel)
        if was == release:
            return before
        if channel == "champion":
            after = replace(before, champion=release, challenger=None)
        else:
            after = replace(before, challenger=release)
        if split is not None:
            after = replace(after, split=split)
        return _write(folder, after, channel, release, was, reason)


def rollback(folder: UPath, to: str | None = None, reason: str = "rollback") -> Channels:
    """Serves an earlier champion again and withdraws the present one.

    The earlier one's files are compared with their checksums first.

    Args:
        folder: the vertical's releases.
        to: the release, or enough of its first characters; by default the latest former champion
            that was not withdrawn.
        reason: kept in the history.

    Raises:
        ReleaseError: there is nothing to go back to, or it was damaged.
    """
    from vertical_assets.release.files import DamagedArtifactError, verify

    with atomic.locked(folder):
        before = read_channels(folder)
        target = _named(folder, to) if to else _former(before)
        if target == before.champion:
            raise ReleaseError(f"release {target} is the champion already; nothing was changed")
        try:
            verify(local_directory(folder / target) / ARTIFACT)
        except DamagedArtifactError as error:
            raise ReleaseError(f"{error}; nothing was changed") from error
        gone = {*before.withdrawn, *([before.champion] if before.champion else [])} - {target}
        after = replace(before, champion=target, challenger=None, withdrawn=tuple(sorted(gone)))
        return _write(folder, after, "champion", target, before.champion, reason)


def released(folder: UPath) -> list[str]:
    """Digests of all releases, by name."""
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def open_champion(folder: UPath) -> "tuple[str, Predictor]":
    """(digest, predictor) of what is served; without torch.

    Raises:
        ReleaseError: nothing is released yet.
        DamagedArtifactError: a file of it was changed.
    """
    from vertical_assets.release.predictor import Predictor

    champion = read_channels(folder).champion
    if champion is None:
        raise ReleaseError(f"{folder.parent.name} has no champion yet")
    artifact = local_directory(folder / champion) / ARTIFACT
    return champion, Predictor(artifact)


def _former(channels: Channels) -> str:
    for change in reversed(channels.history):
        was = change["was"]
        if change["channel"] == "champion" and was and was not in channels.withdrawn:
            return str(was)
    raise ReleaseError("there is no former champion to go back to; name one with --to")


def _named(folder: UPath, start: str) -> str:
    found = [digest for digest in released(folder) if digest.startswith(start)]
    if len(found) != 1:
        raise ReleaseError(
            f"{len(found)} releases begin with {start!r}; see vertical-assets releases "
            f"{folder.parent.name}"
        )
    return found[0]


def _present(folder: UPath, release: str) -> None:
    if not (folder / release / ARTIFACT).exists():
        raise ReleaseError(f"there is no release {release} under {folder}")


def _write(
    folder: UPath, after: Channels, channel: str, release: str, was: str | None, reason: str
) -> Channels:
    change = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "channel": channel,
        "release": release,
        "was": was,
        "reason": reason,
    }
    after = replace(after, history=(*after.history, change))
    atomic.replace(folder / CHANNELS, json.dumps(asdict(after), indent=2).encode())
    return after
