"""A forgotten document is recognised wherever its source brings it back."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.store.tombstones import (
    FILE,
    TombstoneError,
    Tombstones,
    add,
    read,
    text_digest,
)
from vertical_assets_tests.conftest import ROOT


@pytest.fixture
def path(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "medical" / FILE)


def rows(*values: tuple[str, str, str]) -> pa.RecordBatch:
    names = ["source", "doc_id", "text"]
    return pa.RecordBatch.from_pylist([dict(zip(names, row, strict=True)) for row in values])


def test_a_document_with_an_id_of_its_own_is_recognised_by_it(path: UPath) -> None:
    assert add(path, "d2", "clinic", reason="request 17")
    gone = read(path).forgotten(
        rows(("clinic", "d1", "a"), ("clinic", "d2", "b"), ("forum", "d2", "b"))
    )
    assert gone.to_pylist() == [False, True, False]


def test_a_document_without_one_is_recognised_by_its_text_wherever_its_line_moves(
    path: UPath,
) -> None:
    """Its doc_id is its line; after a line before it is deleted, another document has that id."""
    add(path, "line-2", "forum", text="我得了高血压")
    moved = rows(
        ("forum", "line-1", "我得了高血压"),
        ("forum", "line-2", "天气很好"),
        ("forum", "line-3", "我得了糖尿病"),  # of the same length
        ("clinic", "line-1", "我得了高血压"),
    )
    assert read(path).forgotten(moved).to_pylist() == [True, False, False, False]


def test_both_kinds_in_one_source(path: UPath) -> None:
    add(path, "d1", "forum")
    add(path, "d2", "forum", text="b")
    batch = rows(("forum", "d1", "x"), ("forum", "d9", "b"), ("forum", "d2", "y"))
    assert read(path).forgotten(batch).to_pylist() == [True, True, False]
    assert read(path).forgotten(batch.slice(1)).to_pylist() == [True, False]


def test_without_a_file_nothing_is_forgotten(path: UPath) -> None:
    stones = read(path)
    assert stones == Tombstones()
    assert stones.digest("forum") == stones.digest() == ""
    assert stones.forgotten(rows(("forum", "d1", "a"))).to_pylist() == [False]


def test_only_the_source_of_the_document_has_another_digest(path: UPath) -> None:
    add(path, "d1", "forum")
    before = read(path)
    add(path, "d2", "clinic")
    after = read(path)
    assert after.digest("forum") == before.digest("forum") != ""
    assert before.digest("clinic") == "" != after.digest("clinic")
    assert before.digest() != after.digest()


def test_order_time_and_reason_leave_the_digest_alone(tmp_path: Path) -> None:
    one, other = UPath(tmp_path / "a" / FILE), UPath(tmp_path / "b" / FILE)
    for name in ("d1", "d2"):
        add(one, name, "forum")
    for name in ("d2", "d1"):
        add(other, name, "forum", reason="letter")
    assert read(one).digest("forum") == read(other).digest("forum")


def test_forgetting_twice_is_forgetting_once(path: UPath) -> None:
    assert add(path, "d1", "forum")
    before = path.read_bytes()
    assert not add(path, "d1", "forum", reason="again")
    assert path.read_bytes() == before


def test_each_of_two_documents_with_one_text_has_its_tombstone(path: UPath) -> None:
    """What was said about the second is found by its id only."""
    assert add(path, "d1", "forum", text="a")
    assert add(path, "d2", "forum", text="a")
    assert [entry.doc_id for entry in read(path).entries] == ["d1", "d2"]


def test_the_file_says_when_and_why_and_not_what(path: UPath) -> None:
    add(path, "d1", "forum", text="我得了高血压", reason="来信 17")
    content = path.read_text()
    entry = json.loads(content)
    assert list(entry) == ["doc_id", "source", "forgotten_at", "reason", "text_digest"]
    assert entry["forgotten_at"].endswith("+00:00")
    assert "高血压" not in content
    assert "来信 17" in content
    assert entry["text_digest"] == "18-" + text_digest("我得了高血压")[3:]


def test_a_text_digest_is_length_and_blake2b() -> None:
    """Of the empty text: BLAKE2b with 16 bytes, as `b2sum -l 128 /dev/null` prints it."""
    assert text_digest("") == "0-cae66941d9efbd404e4d88758ea67670"


def test_an_empty_text_would_forget_all_empty_rows(path: UPath) -> None:
    with pytest.raises(TombstoneError, match="vertical-assets trace d1"):
        add(path, "d1", "forum", text="")
    assert not path.exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"doc_id": "d2", "sour', "Unterminated string"),
        ('["d2"]', "not an object"),
        ('{"doc_id": "d2"}', "missing 2 required"),
        ('{"doc_id": 2, "source": "s", "forgotten_at": "2026-01-01T00:00:00Z"}', "of texts"),
        ('{"doc_id": "", "source": "s", "forgotten_at": "2026-01-01T00:00:00Z"}', "is empty"),
        ('{"doc_id": "d", "source": "s", "forgotten_at": "gestern"}', "gestern"),
        ('{"doc_id": "d", "source": "s", "forgotten_at": "2026-01-01"}', "no time zone"),
        (
            '{"doc_id": "d", "source": "s", "forgotten_at": "2026-01-01T00:00:00Z", "why": ""}',
            "unexpected keyword argument 'why'",
        ),
        (
            '{"doc_id": "d", "source": "s", "forgotten_at": "2026-01-01T00:00:00Z", '
            '"text_digest": "12-xyz"}',
            "non-hexadecimal",
        ),
        ("\xff", "Expecting value"),
    ],
)
def test_a_malformed_line_is_an_error_that_names_it(path: UPath, line: str, reason: str) -> None:
    add(path, "d1", "forum")
    with path.open("a") as file:
        file.write(line + "\n")
    before = path.read_bytes()
    for attempt in (lambda: read(path), lambda: add(path, "d3", "forum")):
        with pytest.raises(TombstoneError, match=rf"{FILE}:2: no tombstone \(.*{reason}.*delete"):
            attempt()
    assert path.read_bytes() == before


def test_a_line_set_by_hand_counts(path: UPath) -> None:
    path.parent.mkdir()
    path.write_text('{"doc_id": "d1", "source": "s", "forgotten_at": "2026-01-01T00:00:00Z"}')
    assert add(path, "d2", "s")
    assert [entry.doc_id for entry in read(path).entries] == ["d1", "d2"]


def test_two_writers_lose_nothing(path: UPath) -> None:
    forgets = (
        "import sys; from upath import UPath; from vertical_assets.store.tombstones import add\n"
        f"for n in range(20): add(UPath({str(path)!r}), f'{{sys.argv[1]}}-{{n}}', 'forum')"
    )
    command = [sys.executable, "-c", forgets]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in "ab"]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found = [entry.doc_id for entry in read(path).entries]
    assert sorted(found) == sorted(f"{name}-{n}" for name in "ab" for n in range(20))


def test_a_drop_folder_on_an_object_store() -> None:
    path = UPath("memory://drop/medical") / FILE
    add(path, "d1", "forum")
    add(path, "d2", "forum")
    assert [entry.doc_id for entry in read(path).entries] == ["d1", "d2"]
    path.fs.rm("/drop", recursive=True)
