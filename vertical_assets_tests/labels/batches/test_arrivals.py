"""Arrivals: whole files become batches, files still being written wait, malformed ones go aside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from upath import UPath

from vertical_assets.alerts import alerts
from vertical_assets.labels.batches import arrivals as module
from vertical_assets.labels.batches.arrivals import (
    REASON,
    REJECTED,
    arrivals,
    batch_of,
    key_of,
    set_aside,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(annotation={}))
ROW = {"source": "first", "id": "1", "annotator_id": "ann", "label": "positive"}
LINE = json.dumps(ROW) + "\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The drop folder of annotations; everything else in the same temporary folder."""
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    monkeypatch.setenv("VERTICAL_WORK", str(tmp_path / "work"))
    folder = tmp_path / "tiny" / "annotations"
    folder.mkdir(parents=True)
    return folder


def later(seconds: float = 60.0) -> float:
    return time.time() + seconds


def test_a_file_is_a_batch_named_after_it(folder: Path) -> None:
    (folder / "2024.05 round one.jsonl").write_text(LINE)
    (folder / "second.csv").write_text("source,id,annotator_id,label\nfirst,1,ann,positive\n")
    found = arrivals(SPEC, later())
    assert [batch.key for batch in found.batches] == ["2024.05_round_one", "second"]
    assert (found.unsettled, found.malformed, found.reachable) == ((), (), True)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("may.jsonl", "may"),
        ("may.jsonl.gz", "may"),
        ("第一批.csv", "第一批"),
        ("a/b\x07c.jsonl", "b_c"),
        ("....jsonl", "batch"),
        ("simulated.jsonl", "simulated_file"),
        ("may.v2", "may.v2"),
    ],
)
def test_keys_are_fit_for_partitions_and_folders(name: str, key: str) -> None:
    assert key_of(name) == key


def test_a_file_still_being_written_is_left_alone(folder: Path) -> None:
    file = folder / "batch.jsonl"
    file.write_text(LINE)
    assert arrivals(SPEC, later(1)).unsettled == ("batch",)
    first = arrivals(SPEC, later())
    with file.open("a") as opened:
        opened.write(LINE)
    assert arrivals(SPEC, later(1)).unsettled == ("batch",)
    second = arrivals(SPEC, later())
    assert second.batches[0].key == first.batches[0].key
    assert second.batches[0].digest != first.batches[0].digest


def test_times_of_another_clock_are_told_by_two_looks(folder: Path) -> None:
    """A file server whose clock is an hour ahead: nothing changed between two looks."""
    file = folder / "batch.jsonl"
    file.write_text(LINE)
    now = file.stat().st_ctime - 3600
    assert arrivals(SPEC, now).unsettled == ("batch",)
    assert [batch.key for batch in arrivals(SPEC, now + 6).batches] == ["batch"]


@pytest.mark.parametrize("name", [".hidden.jsonl", "batch.jsonl.tmp", "batch.jsonl.part", "b.csv~"])
def test_unfinished_and_hidden_files_are_no_files(folder: Path, name: str) -> None:
    (folder / name).write_text(LINE)
    found = arrivals(SPEC, later())
    assert (found.batches, found.unsettled, found.malformed) == ((), (), ())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jsonl", b"", "the file has no bytes"),
        ("broken.jsonl", b"{this is\nno JSON}\n", "none of its 2 rows can be used"),
        ("image.png", b"\x89PNG\r\n", "the name does not tell the format"),
        ("archive.jsonl.gz", b"no gzip", "none of its 1 rows can be used"),
        ("nobody.jsonl", b'{"source": "first", "id": "1", "label": "x"}\n', "'annotator_id'"),
        ("nothing.csv", b"annotator_id,label\nann,positive\n", "'item_id', or by 'source' and"),
    ],
)
def test_a_malformed_file_is_set_aside_with_the_reason_and_an_alert(
    folder: Path, name: str, content: bytes, says: str
) -> None:
    (folder / name).write_bytes(content)
    (folder / "good.jsonl").write_text(LINE + "{broken\n")
    assert arrivals(SPEC, later(10)).malformed == ()  # its writer may only have paused
    found = arrivals(SPEC, later())
    assert [batch.key for batch in found.batches] == ["good"]
    (malformed,) = found.malformed
    target = set_aside(malformed, SPEC)
    assert target is not None
    moved = Path(target.path)
    assert moved.parent == folder / REJECTED
    assert moved.read_bytes() == content
    reason = moved.with_name(moved.name + REASON).read_text()
    assert says in reason
    assert "put it back" in reason
    (raised,) = alerts()
    assert (raised["kind"], raised["vertical"]) == ("malformed_batch", "tiny")
    assert says in raised["message"]
    after = arrivals(SPEC, later())
    assert after.malformed == ()
    assert [batch.key for batch in after.batches] == ["good"]


def test_a_file_that_was_mended_or_taken_away_meanwhile_is_not_set_aside(folder: Path) -> None:
    file = folder / "batch.jsonl"
    file.write_text("{no\n")
    (malformed,) = arrivals(SPEC, later()).malformed
    file.write_text(LINE)
    assert set_aside(malformed, SPEC) is None
    assert file.read_text() == LINE
    file.unlink()
    assert set_aside(malformed, SPEC) is None
    assert not (folder / REJECTED).exists()
    assert alerts() == []


def test_files_of_one_name_are_one_batch(folder: Path) -> None:
    (folder / "may.jsonl").write_text(LINE)
    (folder / "may.csv").write_text("source,id,annotator_id,label\nfirst,1,bob,positive\n")
    (batch,) = arrivals(SPEC, later()).batches
    assert [file.name for file in batch.files] == ["may.csv", "may.jsonl"]
    assert batch_of(SPEC, "may") == batch


def test_a_folder_out_of_reach_is_told_from_an_empty_one(folder: Path) -> None:
    assert arrivals(SPEC, later()).reachable
    folder.rmdir()
    for path in ("annotations/*.jsonl", "annotations"):
        assert not arrivals(VerticalSpec(**tiny(annotation={"path": path})), later()).reachable


def test_files_are_opened_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "batch.jsonl").write_text(LINE)
    first = arrivals(SPEC, later())

    def opened(file: UPath) -> str:
        raise AssertionError(f"{file} was read again")

    monkeypatch.setattr(module, "_digest", opened)
    assert arrivals(SPEC, later()) == first


KILLED = """
import os, signal, sys
from vertical_assets.labels.batches import arrivals
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
spec, now, step = VerticalSpec(**tiny(annotation={})), float(sys.argv[1]), sys.argv[2]
def kill(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
if step == "before the reason": arrivals.replace = kill
if step == "before the alert": arrivals.alert = kill
if step == "before the move": arrivals.Path.replace = kill
for malformed in arrivals.arrivals(spec, now).malformed: arrivals.set_aside(malformed, spec)
"""


@pytest.mark.parametrize("step", ["before the reason", "before the alert", "before the move"])
def test_killed_in_the_middle_a_malformed_file_is_set_aside_the_next_time(
    folder: Path, step: str
) -> None:
    (folder / "bad.jsonl").write_bytes(b"{no\n")
    assert [found.file.name for found in arrivals(SPEC, later()).malformed] == ["bad.jsonl"]
    command = [sys.executable, "-c", KILLED, str(later()), step]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert result.returncode == -signal.SIGKILL
    assert (folder / "bad.jsonl").exists()
    (malformed,) = arrivals(SPEC, later()).malformed
    set_aside(malformed, SPEC)
    left = sorted(path.name for path in (folder / REJECTED).iterdir())
    name = f"bad.{malformed.digest[:8]}.jsonl"
    assert left == [name, f"{name}{REASON}"]
    assert len(alerts()) == 1
