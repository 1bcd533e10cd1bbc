"""Releases are immutable; a rollback serves the old one's answers, bit for bit."""

import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from vertical_assets.release import channels
from vertical_assets.release.predictor import Predictor
from vertical_assets.store.versions import purge
from vertical_assets_tests.conftest import Project

TEXTS = ["质量很好，下次还来。", "太差了，再也不买。", "一般"]


@pytest.fixture
def two(artifacts: list[Path], tmp_path: Path) -> tuple[UPath, str, str]:
    """A releases folder in which the second release took the first one's place."""
    root = UPath(tmp_path / "store")
    root.mkdir()
    first, second = (
        channels.store_release(root, "tiny", path, {"README.md": "card"}) for path in artifacts
    )
    folder = channels.releases_folder(root, "tiny")
    channels.set_channel(folder, "champion", first, "the first one")
    channels.set_channel(folder, "champion", second, "better")
    return folder, first, second


def answers(folder: UPath) -> np.ndarray:
    _, predictor = channels.open_champion(folder)
    assert isinstance(predictor, Predictor)
    return predictor.probabilities(TEXTS)


def test_rollback_takes_a_moment_and_the_answers_are_the_old_ones(
    two: tuple[UPath, str, str], artifacts: list[Path], built: Project
) -> None:
    folder, first, second = two
    old = Predictor(artifacts[0]).probabilities(TEXTS)
    assert not np.array_equal(answers(folder), old)
    project = Project(Path(folder.parent.parent.path).parent)
    (project.root / "data").mkdir()
    (project.root / "dagster.yaml").write_bytes((built.root / "dagster.yaml").read_bytes())
    (project.root / "data" / "store").symlink_to(folder.parent.parent.path)
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = project.process("rollback", "tiny")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor: what else the machine does is not the rollback's.
    assert ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime < 5
    assert result.returncode == 0, result.stderr
    assert answers(folder).tobytes() == old.tobytes()
    assert channels.read_channels(folder).withdrawn == (second,)
    listed = project.command("releases", "tiny").stdout
    assert first in listed
    assert "withdrawn" in listed


def test_what_was_rolled_back_from_comes_back_by_name_only(two: tuple[UPath, str, str]) -> None:
    folder, first, second = two
    channels.rollback(folder)
    with pytest.raises(channels.ReleaseError, match="was rolled back from"):
        channels.set_channel(folder, "champion", second, "better")
    after = channels.rollback(folder, to=second[:8])
    assert (after.champion, after.withdrawn) == (second, (first,))


def test_going_back_twice_ends_at_the_first(two: tuple[UPath, str, str]) -> None:
    folder, first, _ = two
    assert channels.rollback(folder).champion == first
    with pytest.raises(channels.ReleaseError, match="there is no former champion"):
        channels.rollback(folder)
    assert channels.read_channels(folder).champion == first


def test_a_rollback_opens_no_gate(two: tuple[UPath, str, str], tmp_path: Path) -> None:
    """What waits for a person, was refused or was never decided about answers no request."""
    folder, first, second = two
    third = tmp_path / "third"
    shutil.copytree((folder / first / channels.ARTIFACT).path, third)
    (third / "licences.json").write_text("[]")
    digest = channels.store_release(folder.parent.parent, "tiny", third, {})
    for change, reason in (
        (lambda: None, "never answered a request"),
        (lambda: channels.set_channel(folder, "pending", digest, "sound"), "waits for approval"),
        (lambda: channels.refuse(folder, digest, "a slice collapsed"), "was refused"),
    ):
        change()
        with pytest.raises(channels.ReleaseError, match=f"{reason}.*nothing was changed"):
            channels.rollback(folder, to=digest)
    assert channels.read_channels(folder).champion == second


def test_a_former_champion_may_answer_again_though_a_better_one_beat_it(
    two: tuple[UPath, str, str],
) -> None:
    """Built once more, it was judged against the one that took its place."""
    folder, first, second = two
    channels.refuse(folder, first, "not_worse: f1_macro is -4.00% against the champion's")
    after = channels.rollback(folder)
    assert (after.champion, after.refused, after.withdrawn) == (first, (), (second,))


def test_a_challenger_may_be_preferred(two: tuple[UPath, str, str]) -> None:
    folder, first, second = two
    channels.set_channel(folder, "challenger", first, "not better enough")
    after = channels.rollback(folder, to=first)
    assert (after.champion, after.challenger, after.withdrawn) == (first, None, (second,))


def test_two_who_decide_at_once_do_not_overrule_each_other(two: tuple[UPath, str, str]) -> None:
    folder, first, second = two
    seen = channels.read_channels(folder)
    channels.rollback(folder)
    with pytest.raises(channels.ReleaseError, match=f"{first} became the champion while"):
        channels.set_channel(folder, "challenger", second, "no better", seen=seen)
    assert channels.read_channels(folder).challenger is None


def test_channels_that_somebody_broke_are_named(two: tuple[UPath, str, str]) -> None:
    folder, *_ = two
    (folder / channels.CHANNELS).write_text("{")
    with pytest.raises(channels.ReleaseError, match=r"channels.json is no JSON .*: restore it"):
        channels.rollback(folder)


def test_a_damaged_release_is_not_gone_back_to(two: tuple[UPath, str, str]) -> None:
    folder, first, second = two
    with Path((folder / first / channels.ARTIFACT / "model.bin").path).open("ab") as file:
        file.write(b" ")
    with pytest.raises(channels.ReleaseError, match=r"model.bin .*nothing was changed"):
        channels.rollback(folder)
    (folder / first / channels.ARTIFACT / "manifest.json").unlink()
    with pytest.raises(channels.ReleaseError, match=r"manifest.json is gone .*nothing was changed"):
        channels.rollback(folder)
    assert channels.read_channels(folder).champion == second


def test_a_damaged_release_answers_no_request(
    two: tuple[UPath, str, str], artifacts: list[Path]
) -> None:
    """A sound artifact of the same content does not change what is stored."""
    folder, first, second = two
    with Path((folder / first / channels.ARTIFACT / "model.bin").path).open("ab") as file:
        file.write(b" ")
    channels.store_release(folder.parent.parent, "tiny", artifacts[0], {})
    with pytest.raises(channels.ReleaseError, match=f"model.bin .*or remove .*{first}"):
        channels.set_channel(folder, "champion", first, "better again")
    (folder / first / channels.ARTIFACT / "manifest.json").unlink()
    channels.store_release(folder.parent.parent, "tiny", artifacts[0], {})
    with pytest.raises(channels.ReleaseError, match="or not all of it: remove what is left"):
        channels.set_channel(folder, "champion", first, "better again")
    assert channels.read_channels(folder).champion == second


def test_what_a_killed_publication_left_on_an_object_store_is_completed(
    artifacts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_CACHE", str(tmp_path / "cache"))
    root = UPath(f"memory://{tmp_path.name}")
    root.mkdir()
    files = sum(path.is_file() for path in artifacts[0].rglob("*"))
    copy, left = type(root.fs).cp_file, files + 2  # all are staged, two in their place

    def killed(*given: Any, **named: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        copy(*given, **named)

    folder = channels.releases_folder(root, "tiny")
    with monkeypatch.context() as dying:
        dying.setattr(type(root.fs), "cp_file", killed)
        with pytest.raises(KeyboardInterrupt):
            channels.store_release(root, "tiny", artifacts[0], {"README.md": "card"})
    (torso,) = channels.released(folder)
    with pytest.raises(channels.ReleaseError, match="there is no release"):
        channels.set_channel(folder, "champion", torso, "the first one")
    assert channels.store_release(root, "tiny", artifacts[0], {"README.md": "card"}) == torso
    channels.set_channel(folder, "champion", torso, "the first one")
    ours = Predictor(artifacts[0]).probabilities(TEXTS)
    assert np.array_equal(answers(folder), ours)


def test_a_purge_of_the_store_keeps_releases(two: tuple[UPath, str, str]) -> None:
    folder, first, second = two
    assert purge(folder.parent) == 0
    assert channels.released(folder) == sorted([first, second])


def test_a_release_is_never_written_twice(
    two: tuple[UPath, str, str], artifacts: list[Path]
) -> None:
    folder, first, _ = two
    again = channels.store_release(
        folder.parent.parent, "tiny", artifacts[0], {"README.md": "changed"}
    )
    assert again == first
    assert (folder / first / "README.md").read_text() == "card"


def test_a_person_decides_on_what_waits(artifacts: list[Path], tmp_path: Path) -> None:
    """Of a release that a newer one has taken the place of, an approval would change nothing."""
    root = UPath(tmp_path / "store")
    root.mkdir()
    first, second = (channels.store_release(root, "tiny", path, {}) for path in artifacts)
    folder = channels.releases_folder(root, "tiny")
    with pytest.raises(channels.ReleaseError, match="no release of tiny waits for approval"):
        channels.awaited(folder, None)
    channels.set_channel(folder, "pending", first, "sound")
    assert channels.awaited(folder, None) == channels.awaited(folder, first[:8]) == first
    channels.set_channel(folder, "pending", second, "of newer labels")
    assert channels.awaited(folder, None) == second
    with pytest.raises(channels.ReleaseError, match=f"{first} does not wait.*{second} does"):
        channels.awaited(folder, first)
    channels.refuse(folder, second, "no")
    assert channels.awaited(folder, second) == second  # a refusal may be taken back
