"""Sources: every row becomes a document or stays with a reason; nothing is lost."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from vertical_assets.corpus.sources import (
    SourceError,
    detect_encoding,
    document_id,
    fingerprint,
    read_source,
)
from vertical_assets.spec import Source

TEXT = "这本书的内容很好，印刷也清楚。"


def source(path: str, **more: Any) -> Source:
    return Source(name="shop", kind="user", licence="MIT", path=path, **more)


def read(folder: Path, path: str, **more: Any) -> list[dict[str, Any]]:
    batches = list(read_source(source(path, **more), UPath(folder), "zh"))
    return [row for batch in batches for row in batch.to_pylist()]


def test_json_lines_keep_what_the_source_says(tmp_path: Path) -> None:
    row = {"id": 7, "body": TEXT, "stars": 5}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    (document,) = read(tmp_path, "a.jsonl", fields={"text": "body"}, constants={"shop": "x"})
    assert document["text"] == TEXT
    assert document["doc_id"] == document_id("shop", "7")
    assert json.loads(document["meta"]) == {"stars": 5, "shop": "x"}
    assert (document["language"], document["licence"]) == ("zh", "MIT")
    assert (document["origin"], document["rule"]) == ("a.jsonl:1", None)


def test_a_missing_file_is_an_error_that_names_source_path_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source 'shop': no file at .*gone.jsonl; put it there"):
        read(tmp_path, "gone.jsonl")


def test_a_missing_package_is_an_error_that_names_it(tmp_path: Path) -> None:
    absent = Source(name="x", kind="public", licence="-", package="no_such_pkg", resource="a.txt")
    with pytest.raises(SourceError, match="'no_such_pkg' is not installed"):
        list(read_source(absent, UPath(tmp_path), "en"))


def test_an_empty_file_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b.txt").write_text(TEXT)
    empty, good = read(tmp_path, "*.txt")
    assert empty["rule"] == "empty_file"
    assert (good["text"], good["rule"]) == (TEXT, None)


def test_an_unreadable_file_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is all there is")
    pq.write_table(pa.table({"text": [TEXT]}), tmp_path / "b.parquet")
    broken, good = read(tmp_path, "*.parquet")
    assert broken["rule"] == "unreadable_file"
    assert good["text"] == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "big5", "utf-16"])
def test_encodings_are_told_from_the_bytes(tmp_path: Path, encoding: str) -> None:
    lines = [TEXT if encoding != "big5" else "這本書的內容很好，印刷也清楚。"] * 20
    (tmp_path / "a.txt").write_bytes("\n".join(lines).encode(encoding))
    assert [row["text"] for row in read(tmp_path, "a.txt")] == lines


def test_undecodable_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [TEXT.encode()] * 30
    lines[4] = b"\xff\xfe broken"
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    rows = read(tmp_path, "a.txt")
    assert [row["origin"] for row in rows if row["rule"] == "undecodable"] == ["a.txt:5"]
    assert sum(row["text"] == TEXT for row in rows) == 29


def test_broken_rows_stay_with_place_and_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{"text": \n["a list"]\n')
    (tmp_path / "b.csv").write_text("id,text\n1,good\n2,too,many\n")
    rows = read(tmp_path, "a.jsonl") + read(tmp_path, "b.csv")
    assert [row["rule"] for row in rows] == [None, "broken_row", "broken_row", None, "broken_row"]
    assert rows[4]["reason"] == "b.csv:3: 3 fields where the header has 2"


def test_csv_places_are_lines_of_the_file_whatever_could_not_be_read(tmp_path: Path) -> None:
    content = b'id,text\n1,"two\nlines"\n2,\xff\xfe\n' + b"3,good\n" * 20
    (tmp_path / "a.csv").write_bytes(content)
    rows = read(tmp_path, "a.csv")
    assert (rows[0]["text"], rows[0]["origin"]) == ("two\nlines", "a.csv:3")
    assert rows[1]["origin"] == "a.csv:5"
    assert [r["origin"] for r in rows if r["rule"] == "undecodable"] == ["a.csv:4"]


def test_a_repeated_id_keeps_the_first_row(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "first"}, {"id": "a", "text": "second"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read(tmp_path, "a.jsonl")
    assert (first["text"], first["rule"]) == ("first", None)
    assert (second["rule"], second["text"]) == ("duplicate_id", "second")
    assert first["doc_id"] != second["doc_id"]


def test_a_wrong_field_name_is_said_once_per_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    (row,) = read(tmp_path, "a.jsonl")
    assert row["rule"] == "missing_text"
    assert "name the right one under 'fields.text'" in row["reason"]


def test_a_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    seen = set()
    for text in ("one", "two", "one"):
        file.write_text(text)
        seen.add(fingerprint(source("a.txt"), UPath(tmp_path)))
    assert len(seen) == 2


def test_utf8_with_single_broken_lines_is_not_taken_for_another_encoding() -> None:
    assert detect_encoding(b"\n".join([TEXT.encode()] * 20 + [b"\xff\xff"] + [b""])) == "utf-8"
