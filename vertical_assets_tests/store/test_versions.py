"""Results appear whole or not at all, under a digest of their content."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.store import Directory, Table
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import (
    Staged,
    commit,
    current,
    local_directory,
    new_staging,
    stage_directory,
    sweep,
)

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("text", pa.string())])


def batch(rows: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"id": n, "text": f"文 {n}"} for n in rows], SCHEMA)


@given(cuts=st.lists(st.integers(0, 300), max_size=8))
def test_the_same_rows_have_the_same_version_in_any_batches(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    root = UPath(tmp_path_factory.mktemp("store"))
    edges = [0, *sorted(cuts), 300]
    parts = [batch(list(range(a, b))) for a, b in pairwise(edges)]
    whole = stage_table(root, SCHEMA, [batch(list(range(300)))])
    assert stage_table(root, SCHEMA, parts).version == whole.version
    assert whole.rows == 300


def test_other_rows_have_another_version(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    versions = {stage_table(root, SCHEMA, [batch([n])]).version for n in range(5)}
    assert len(versions) == 5


def test_nothing_is_readable_before_the_commit_and_all_of_it_after(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "medical" / "raw_corpus"
    staged = stage_table(root, SCHEMA, [batch([1, 2])])
    with pytest.raises(FileNotFoundError, match="materialize medical/raw_corpus first"):
        current(entry)
    commit(staged, entry)
    assert Table((current(entry),)).read()["id"].to_pylist() == [1, 2]


def test_a_killed_writer_leaves_the_old_version_readable(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "v" / "a"
    commit(stage_table(root, SCHEMA, [batch([1])]), entry)
    half = new_staging(root)  # what a process killed while writing leaves behind
    (half / "part-0.parquet").write_bytes(b"PAR1 and no more")
    staged = stage_table(root, SCHEMA, [batch([2])])
    staged.path.rename(entry / staged.version)  # killed between the rename and the pointer
    assert Table((current(entry),)).read()["id"].to_pylist() == [1]
    commit(stage_table(root, SCHEMA, [batch([2])]), entry)
    assert Table((current(entry),)).read()["id"].to_pylist() == [2]
    sweep(root)
    assert not half.exists()


def test_committing_twice_changes_nothing(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "v" / "a"
    paths = {str(commit(stage_table(root, SCHEMA, [batch([7])]), entry)) for _ in range(2)}
    assert len(paths) == 1
    assert [path.name for path in (tmp_path / ".staging").iterdir()] == []


def test_old_versions_go(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "v" / "a"
    for number in range(5):
        commit(stage_table(root, SCHEMA, [batch([number])]), entry)
    # The present one, and the one that a running reader may still have open.
    assert sum(path.is_dir() for path in entry.iterdir()) == 2
    assert Table((current(entry),)).read()["id"].to_pylist() == [4]


def test_a_models_version_is_its_files_not_its_history(tmp_path: Path) -> None:
    def staged(seconds: int, weights: bytes) -> Staged:
        source = tmp_path / "model"
        source.mkdir(exist_ok=True)
        (source / "model.safetensors").write_bytes(weights)
        (source / "manifest.json").write_text(json.dumps({"seconds": seconds}))
        return stage_directory(UPath(tmp_path / "store"), source)

    assert staged(1, b"w").version == staged(2, b"w").version != staged(1, b"v").version


@pytest.mark.parametrize("url", ["", "memory://remade"])
def test_a_model_that_is_made_again_says_what_it_was_made_from_last(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights from other labels, e.g. where only the test split changed."""
    monkeypatch.setenv("VERTICAL_CACHE", str(tmp_path / "cache"))
    root = UPath(url or tmp_path / "store")
    source = tmp_path / "model"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"w")
    for labels in ("earlier", "later"):
        (source / "manifest.json").write_text(json.dumps({"inputs": {"labeled_set": labels}}))
        opened = Directory(local_directory(commit(stage_directory(root, source), root / "v" / "a")))
        assert opened.manifest["inputs"] == {"labeled_set": labels}
    assert len([path for path in (root / "v" / "a").iterdir() if path.is_dir()]) == 1


def test_copies_of_remote_directories_of_one_name_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release has the name of its artifact."""
    monkeypatch.setenv("VERTICAL_CACHE", str(tmp_path / "cache"))
    places = [UPath("memory://apart") / name / "0f1e" for name in ("releases", "artifact")]
    for place in places:
        place.mkdir(parents=True)
        (place / "file").write_text(place.parent.name)
    for place in places:
        assert (local_directory(place) / "file").read_text() == place.parent.name


def test_the_same_content_again_leaves_the_present_files_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader may have them open, and each writing of an encrypted table has a key of its own."""
    root = UPath("memory://same-again")
    entry = root / "v" / "a"
    commit(stage_table(root, SCHEMA, [batch([1])]), entry)
    commit(stage_table(root, SCHEMA, [batch([2])]), entry)
    written: list[str] = []
    copy = type(root.fs).cp_file

    def noted(fs: Any, source: str, target: str, **_: Any) -> None:
        written.append(target)
        copy(fs, source, target)

    monkeypatch.setattr(type(root.fs), "cp_file", noted)
    commit(stage_table(root, SCHEMA, [batch([2])]), entry)
    assert not [path for path in written if path.endswith(".parquet")]
    commit(stage_table(root, SCHEMA, [batch([3])]), entry)
    assert [path for path in written if path.endswith(".parquet")]
    kept = {Table((path,)).read()["id"].to_pylist()[0] for path in entry.iterdir() if path.is_dir()}
    assert kept == {2, 3}


def test_two_steps_may_fetch_the_same_model_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_CACHE", str(tmp_path / "cache"))
    remote = UPath("memory://twice/v/model")
    remote.mkdir(parents=True)
    (remote / "weights").write_text("w")
    both, one_by_one = Barrier(2), Lock()
    get = type(remote.fs).get

    def slow(*given: Any, **named: Any) -> None:
        with one_by_one:  # files in memory have one place of reading
            get(*given, **named)
        both.wait(10)

    monkeypatch.setattr(type(remote.fs), "get", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(local_directory, [remote, remote])
    assert first == second
    assert (first / "weights").read_text() == "w"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_the_store_may_be_any_fsspec_url(tmp_path: Path) -> None:
    root = UPath("memory://store-test")
    entry = root / "v" / "a"
    commit(stage_table(root, SCHEMA, [batch([1, 2, 3])]), entry)
    commit(stage_table(root, SCHEMA, [batch([4])]), entry)
    assert Table((current(entry),)).read()["id"].to_pylist() == [4]
