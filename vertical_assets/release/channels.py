"""Releases and channels: immutable directories, and which of them is served (SPEC O3, E7).

    <root>/<vertical>/releases/<digest>/       artifact/ and what is said of it; never changed
    <root>/<vertical>/releases/channels.json   champion, challenger, its share, what waits, what was
                                               refused or withdrawn, history

A release is named by its artifact's content. Light: a rollback loads no model library.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from vertical_assets.release.files import DamagedArtifactError, verify
from vertical_assets.store import atomic
from vertical_assets.store.versions import (
    MANIFEST,
    local_directory,
    move_over,
    new_staging,
    stage_directory,
)

if TYPE_CHECKING:
    from vertical_assets.release.predictor import Predictor

FOLDER, CHANNELS, ARTIFACT = "releases", "channels.json", "artifact"
LIVE = ("champion", "challenger")  # channels that answer requests


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
        pending: digest of the release that waits for a person's approval.
        refused: releases, or artifacts that never became one, that were refused.
        history: what changed, oldest first: `at` (ISO 8601, UTC), `channel`, `release`, `was`,
            `reason`.
    """

    champion: str | None = None
    challenger: str | None = None
    split: float = 0.5
    withdrawn: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    pending: str | None = None
    refused: tuple[str, ...] = ()

    def role(self, release: str) -> str | None:
        """champion | challenger | pending | refused | withdrawn; None of a former one."""
        for name in ("champion", "challenger", "pending"):
            if getattr(self, name) == release:
                return name
        if release in self.withdrawn:
            return "withdrawn"
        return "refused" if release in self.refused else None

    def replaced_by(self, release: str) -> str | None:
        """The champion that a release is compared with: the present one; of the present one
        itself, the one whose place it took, unless that was withdrawn.
        """
        if self.champion != release:
            return self.champion
        for change in reversed(self.history):
            if (change["channel"], change["release"]) == ("champion", release):
                was = change["was"]
                return None if was in self.withdrawn else was
        return None


def releases_folder(root: UPath, vertical: str) -> UPath:
    """Where a vertical's releases are."""
    return root / vertical / FOLDER


def read_channels(folder: UPath) -> Channels:
    """The channels of a releases folder; empty before the first release.

    Raises:
        ReleaseError: the file was changed to something else.
    """
    try:
        found = json.loads((folder / CHANNELS).read_text())
    except FileNotFoundError:
        return Channels()
    except ValueError as error:
        raise ReleaseError(
            f"{folder / CHANNELS} is no JSON ({error}): restore it, or remove it and build again"
        ) from error
    lists = ("withdrawn", "history", "refused")
    return Channels(**{**found, **{name: tuple(found.get(name, ())) for name in lists}})


def store_release(
    root: UPath, vertical: str, artifact: Path, files: Mapping[str, str | bytes]
) -> str:
    """Stores an artifact and files beside it (path -> content) as a release; returns its digest.

    It appears whole. One that is there already stays as it is.
    """
    folder = releases_folder(root, vertical)
    staged = stage_directory(root, artifact)
    final = folder / staged.version
    whole = new_staging(root)
    folder.mkdir(parents=True, exist_ok=True)
    staged.path.fs.mv(staged.path.path, (whole / ARTIFACT).path, recursive=True)
    for name, content in files.items():
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (whole / name).write_bytes(data)
    with atomic.locked(folder):
        if final.exists() if atomic.is_local(final) else _is_whole(final):
            whole.fs.rm(whole.path, recursive=True)
        else:
            move_over(whole, final)
    return staged.version


def set_channel(
    folder: UPath,
    channel: str,
    release: str,
    reason: str,
    split: float | None = None,
    seen: Channels | None = None,
) -> Channels:
    """Puts a release into `champion`, `challenger` or `pending`; a new champion leaves no
    challenger. Where it is already, nothing changes.

    Args:
        folder: the vertical's releases.
        channel: champion | challenger | pending.
        release: digest.
        reason: kept in the history.
        split: share of requests that a challenger answers; as it was by default.
        seen: the channels that the decision was made by.

    Raises:
        ReleaseError: the release is not there, was damaged or withdrawn, or another champion than
            the one that was seen is in place by now.
    """
    if channel not in ("champion", "challenger", "pending"):
        raise ValueError(
            f"there is no channel {channel!r}; use 'champion', 'challenger' or 'pending'"
        )
    with atomic.locked(folder):
        before = read_channels(folder)
        if not _is_whole(folder / release):
            raise ReleaseError(
                f"there is no release {release} under {folder}, or not all of it: remove what is "
                "left and materialize release again"
            )
        if seen is not None and seen.champion != before.champion:
            raise ReleaseError(
                f"{before.champion} became the champion while {release} was compared with "
                f"{seen.champion or 'none'}; nothing was changed, materialize release again"
            )
        if release in before.withdrawn:
            raise ReleaseError(
                f"release {release} was rolled back from; bring it back by "
                f"vertical-assets rollback {folder.parent.name} --to {release}"
            )
        was = getattr(before, channel)
        if was == release:
            return before
        if channel in LIVE:
            _verify(folder / release)
        placed: dict[str, Any] = {channel: release}
        after = replace(_without(before, release), **placed)
        if channel == "champion":
            after = replace(after, challenger=None)
        if split is not None:
            after = replace(after, split=split)
        return _write(folder, after, channel, release, was, reason)


def refuse(folder: UPath, release: str, reason: str) -> Channels:
    """Records that a candidate was refused; one that waits or is compared no longer is. A champion
    stays until `rollback`. One that was refused already changes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.locked(folder):
        before = read_channels(folder)
        role = before.role(release)
        if role in ("champion", "refused", "withdrawn"):
            return before
        after = _without(before, release)
        after = replace(after, refused=(*after.refused, release))
        return _write(folder, after, "refused", release, role, reason)


def _without(channels: Channels, release: str) -> Channels:
    """The channels as if a release had never waited, been compared or been refused."""
    return replace(
        channels,
        challenger=None if channels.challenger == release else channels.challenger,
        pending=None if channels.pending == release else channels.pending,
        refused=tuple(each for each in channels.refused if each != release),
    )


def rollback(folder: UPath, to: str | None = None, reason: str = "rollback") -> Channels:
    """Serves an earlier champion again and withdraws the present one.

    The earlier one's files are compared with their checksums first.

    Args:
        folder: the vertical's releases.
        to: the release, or enough of its first characters; by default the latest former champion
            that was not withdrawn. It passed its gates and a person's approval once: one that never
            was champion is not taken where it waits or was refused. A former champion is, though
            it was refused since, e.g. because the present one was better.
        reason: kept in the history.

    Raises:
        ReleaseError: there is nothing to go back to, it may not answer, or it was damaged.
    """
    with atomic.locked(folder):
        before = read_channels(folder)
        target = named(folder, to) if to else _former(before)
        if target == before.champion:
            raise ReleaseError(f"release {target} is the champion already; nothing was changed")
        _has_answered(before, target)
        _verify(folder / target)
        gone = {*before.withdrawn, *([before.champion] if before.champion else [])} - {target}
        after = replace(_without(before, target), champion=target, challenger=None)
        after = replace(after, withdrawn=tuple(sorted(gone)))
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


def _has_answered(channels: Channels, release: str) -> None:
    """Whether a release was champion, or challenger and has not been refused since."""
    role = channels.role(release)
    placed = {(each["channel"], each["release"]) for each in channels.history}
    if ("champion", release) in placed:
        return
    if role in ("pending", "refused") or ("challenger", release) not in placed:
        what = {"pending": "waits for approval", "refused": "was refused"}.get(role or "")
        raise ReleaseError(
            f"release {release} {what or 'never answered a request'}: a rollback does not open its "
            "gates; nothing was changed"
        )


def _former(channels: Channels) -> str:
    for change in reversed(channels.history):
        was = change["was"]
        if change["channel"] == "champion" and was not in (
            None,
            channels.champion,
            *channels.withdrawn,
        ):
            return str(was)
    raise ReleaseError("there is no former champion to go back to; name one with --to")


def named(folder: UPath, start: str) -> str:
    """The one release whose digest begins so.

    Raises:
        ReleaseError: there is none, or there are several.
    """
    found = [digest for digest in released(folder) if digest.startswith(start)]
    if len(found) != 1:
        raise ReleaseError(
            f"{len(found)} releases begin with {start!r}; see vertical-assets releases "
            f"{folder.parent.name}"
        )
    return found[0]


def awaited(folder: UPath, start: str | None) -> str:
    """The release that a person decides on: the one whose digest begins so, or the one that waits.

    Raises:
        ReleaseError: there is none, or another one has taken its place in the queue.
    """
    now = read_channels(folder)
    release = named(folder, start) if start else now.pending
    if release is None:
        raise ReleaseError(f"no release of {folder.parent.name} waits for approval; name one")
    if now.pending and now.role(release) is None:
        raise ReleaseError(
            f"{release} does not wait for approval, {now.pending} does; see vertical-assets "
            f"releases {folder.parent.name}"
        )
    return release


def _is_whole(release: UPath) -> bool:
    """Whether all of a release is there: an artifact's manifest is what comes last."""
    return (release / ARTIFACT / MANIFEST).exists()


def _verify(release: UPath) -> None:
    try:
        verify(local_directory(release) / ARTIFACT)
    except DamagedArtifactError as error:
        raise ReleaseError(
            f"{error}, or remove {release} and materialize release again; nothing was changed"
        ) from error


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
