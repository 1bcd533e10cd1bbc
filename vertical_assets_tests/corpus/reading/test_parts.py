"""Parts: a source's files by content; what did not change is neither hashed nor read again."""

import os
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from vertical_assets.corpus.reading import parts
from vertical_assets.corpus.reading.files import SourceError, files_of
from vertical_assets.corpus.reading.sources import fingerprint, parts_of, read_part
from vertical_assets.spec import Source


def source(path: str, **more: Any) -> Source:
    return Source(name="shop", kind="user", licence="MIT", path=path, **more)


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        (folder / name.replace("__", "/").replace("_txt", ".txt")).write_text(content)


def settle(*files: Path) -> None:
    """Makes files look as if nobody had touched them for a while."""
    for file in files:
        os.utime(file, (1_700_000_000, 1_700_000_000))


def names(folder: Path, path: str) -> list[str]:
    return [part.name for part in parts_of(source(path, format="lines"), UPath(folder))]


def test_globs_folders_and_single_files_name_their_files_without_ambiguity(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    write(tmp_path, a__x_txt="1", b__x_txt="2", a__deep__x_txt="3", a__y="4")
    (tmp_path / "a" / ".hidden.txt").write_text("5")
    assert names(tmp_path, "*/x.txt") == ["a/x.txt", "b/x.txt"]
    assert names(tmp_path, "**/*.txt") == ["a/deep/x.txt", "a/x.txt", "b/x.txt"]
    assert names(tmp_path, "a") == ["deep/x.txt", "x.txt", "y"]
    assert names(tmp_path, "[a]/?") == ["a/y"]
    assert names(tmp_path, "a/x.txt") == ["x.txt"]


def test_a_file_name_in_another_encoding_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode("报告.txt".encode("gb18030"))).write_text("one\n")
    odd = source("*.txt")
    (part,) = parts_of(odd, UPath(tmp_path), tmp_path / "known.json")
    (batch,) = read_part(part, odd, "zh")
    assert batch["origin"].to_pylist() == ["\\xb1\\xa8\\xb8\\xe6.txt:1"]


def test_a_url_of_another_file_system_is_read_like_a_local_file(tmp_path: Path) -> None:
    root = UPath("memory://corpus_of_test_parts")
    (root / "a").mkdir(parents=True)
    (root / "a" / "x.txt").write_text("one\ntwo\n")
    remote = source("memory://corpus_of_test_parts/*/x.txt")
    (part,) = parts_of(remote, UPath(tmp_path))
    (batch,) = read_part(part, remote, "zh")
    assert batch["text"].to_pylist() == ["one", "two"]
    assert batch["origin"].to_pylist() == ["a/x.txt:1", "a/x.txt:2"]
    assert [str(file) for file in files_of(remote, UPath(tmp_path))] == [str(part.file)]


def test_what_is_not_there_is_an_error_that_names_source_path_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source 'shop': no file at .*gone.jsonl; put it there"):
        parts_of(source("gone.jsonl"), UPath(tmp_path))
    with pytest.raises(SourceError, match="no file at"):
        parts_of(source("no/such/*.txt"), UPath(tmp_path))
    absent = Source(name="x", kind="public", licence="-", package="no_such_pkg", resource="a.txt")
    with pytest.raises(SourceError, match="'no_such_pkg' is not installed"):
        parts_of(absent, UPath(tmp_path))
    (tmp_path / "a.xyz").write_text("1")
    with pytest.raises(SourceError, match=r"format of a.xyz can't be told from its name; add"):
        parts_of(source("a.xyz"), UPath(tmp_path))


def test_a_fingerprint_follows_names_and_bytes(tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    file = tmp_path / "a.txt"
    seen = []
    for text in ("one", "two", "one"):  # of the same size, within one tick of the clock
        file.write_text(text)
        seen.append(fingerprint(source("*.txt"), UPath(tmp_path), known))
        assert seen[-1] == fingerprint(source("*.txt"), UPath(tmp_path))
    file.rename(tmp_path / "b.txt")
    seen.append(fingerprint(source("*.txt"), UPath(tmp_path), known))
    assert seen[0] == seen[2]
    assert len(set(seen)) == 3


def test_files_that_did_not_change_are_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SETTLED_NS", 0)
    known = tmp_path / "work" / "known.json"
    write(tmp_path, a_txt="one", b_txt="two")
    settle(tmp_path / "a.txt", tmp_path / "b.txt")
    first = parts_of(source("*.txt"), UPath(tmp_path), known)
    remembered = known.read_bytes()
    # The remembered digest is believed: the file is not looked into.
    known.write_bytes(remembered.replace(first[0].fingerprint.encode(), b"0" * 32))
    assert parts_of(source("*.txt"), UPath(tmp_path), known)[0].fingerprint == "0" * 32
    write(tmp_path, a_txt="changed")
    second = parts_of(source("*.txt"), UPath(tmp_path), known)
    assert second[0].fingerprint not in (first[0].fingerprint, "0" * 32)
    assert second[1] == first[1]


@pytest.mark.parametrize("damaged", [b"", b"{", b"[1]", b'{"a.txt": 1}', b"\xff"])
def test_a_damaged_memory_is_rebuilt(tmp_path: Path, damaged: bytes) -> None:
    known = tmp_path / "known.json"
    write(tmp_path, a_txt="one")
    known.write_bytes(damaged)
    assert parts_of(source("a.txt"), UPath(tmp_path), known) == parts_of(
        source("a.txt"), UPath(tmp_path)
    )


def test_a_big_file_is_parted_at_lines_and_an_append_leaves_the_first_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 4096)
    monkeypatch.setattr(parts, "CHUNK_BYTES", 512)
    lines = [f"第{number}行的文字" for number in range(1000)]
    file = tmp_path / "a.txt"
    file.write_bytes("".join(f"{line}\n" for line in lines).encode("gb18030"))
    before = parts_of(source("a.txt"), UPath(tmp_path))
    assert len(before) > 3
    rows = [
        row
        for part in before
        for batch in read_part(part, source("a.txt"), "zh")
        for row in batch.to_pylist()
    ]
    assert [row["text"] for row in rows] == lines
    assert [row["origin"] for row in rows] == [f"a.txt:{n}" for n in range(1, 1001)]
    with file.open("ab") as opened:
        opened.write(b"more\n")
    after = parts_of(source("a.txt"), UPath(tmp_path))
    assert after[: len(before) - 1] == before[:-1]
    assert after[-1] != before[-1]
    # What is read is what the fingerprint says: appended lines are not mixed in ...
    assert list(read_part(before[0], source("a.txt"), "zh"))
    file.write_bytes(b"rewritten\n" * 2000)
    # ... and a file that was rewritten meanwhile is not taken for the old one.
    with pytest.raises(SourceError, match=r"a.txt changed while it was read; read it again"):
        list(read_part(before[0], source("a.txt"), "zh"))


def test_utf16_is_never_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 4096)
    (tmp_path / "a.txt").write_text("文字\n" * 3000, "utf-16")
    (part,) = parts_of(source("a.txt"), UPath(tmp_path))
    assert sum(batch.num_rows for batch in read_part(part, source("a.txt"), "zh")) == 3000
