"""Sources: every row becomes a document or stays with a reason; nothing is lost."""

import bz2
import datetime
import decimal
import gzip
import json
import lzma
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.corpus.reading.sources import (
    SourceError,
    document_id,
    fingerprints,
    read_file,
    read_source,
)
from vertical_assets.spec import Source, VerticalSpec
from vertical_assets_tests.conftest import tiny

TEXT = "这本书的内容很好，印刷也清楚。"


def source(path: str, **more: Any) -> Source:
    return Source(name="shop", kind="user", licence="MIT", path=path, **more)


def read(folder: Path, path: str, **more: Any) -> list[dict[str, Any]]:
    batches = list(read_source(source(path, **more), UPath(folder), "zh"))
    return [row for batch in batches for row in batch.to_pylist()]


def test_json_lines_keep_what_the_source_says(tmp_path: Path) -> None:
    row = {"id": 7, "body": TEXT, "stars": 5, "tags": ["a"], "ok": None}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    (document,) = read(tmp_path, "a.jsonl", fields={"text": "body"}, constants={"shop": "x"})
    assert document["text"] == TEXT
    assert document["doc_id"] == document_id("shop", "7")
    assert document["meta"] == '{"ok":null,"shop":"x","stars":5,"tags":["a"]}'
    assert (document["language"], document["licence"]) == ("zh", "MIT")
    assert (document["origin"], document["rule"]) == ("a.jsonl:1", None)


def test_dots_reach_into_nested_fields(tmp_path: Path) -> None:
    row = {"review": {"body": TEXT, "by": {"name": "ann"}}, "a.b": "t"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    fields = {"text": "review.body", "author_id": "review.by.name", "title": "a.b", "id": "no.id"}
    (document,) = read(tmp_path, "a.jsonl", fields=fields)
    assert (document["text"], document["author_id"], document["title"]) == (TEXT, "ann", "t")
    assert document["doc_id"] == document_id("shop", "a.jsonl:1")
    assert json.loads(document["meta"]) == {"review": {"by": {}}}


def test_rows_without_an_id_are_known_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"id,text,title\n,{TEXT},\n5,{TEXT},T\n")
    blank, given_ = read(tmp_path, "a.csv")
    assert blank["doc_id"] == document_id("shop", "a.csv:2")
    assert given_["doc_id"] == document_id("shop", "5")
    assert (blank["title"], given_["title"]) == (None, "T")


def test_parquet_keeps_types_in_meta(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([decimal.Decimal(7), None]),
            "text": [TEXT, None],
            "price": pa.array([decimal.Decimal("12.5"), None]),
            "day": [datetime.date(2024, 2, 29), None],
            "published_at": pa.array([1_700_000_000_000_000_001, None], pa.timestamp("ns")),
            "stars": [5, None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    good, bad = read(tmp_path, "a.parquet")
    assert good["doc_id"] == document_id("shop", "7")
    assert good["published_at"] == "2023-11-14T22:13:20"
    assert json.loads(good["meta"]) == {"day": "2024-02-29", "price": 12.5, "stars": 5}
    assert (bad["rule"], bad["origin"]) == ("missing_text", "a.parquet:2")


def reviews(path: Path) -> Iterator[dict[str, Any]]:
    """A reader as a vertical brings its own."""
    for number, line in enumerate(path.read_text().splitlines()):
        if line == "stop":
            raise ValueError("this file is no good from here on")
        yield {"text": line, "number": 2**70 + number, "odd": "\udc80"}


def test_a_vertical_reads_formats_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.own").write_text(f"{TEXT}\nstop")
    own = f"{__name__}:reviews"
    good, reason = read(tmp_path, "a.own", format=own)
    assert good["text"] == TEXT
    assert json.loads(good["meta"]) == {"number": 2**70, "odd": "?"}
    assert reason["reason"].startswith("a.own: ValueError: this file is no good from here on")
    with pytest.raises(SourceError, match=r"format '.*:gone': .*; correct 'format'"):
        read(tmp_path, "a.own", format=f"{__name__}:gone")


def test_an_empty_file_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "a2.txt.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "b.txt").write_text(TEXT)
    empty, nothing, good = read(tmp_path, "*.txt*")
    assert (empty["rule"], nothing["rule"]) == ("empty_file", "empty_file")
    assert (good["text"], good["rule"]) == (TEXT, None)


def test_an_unreadable_file_does_not_lose_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is all there is")
    pq.write_table(pa.table({"text": [TEXT]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_bytes(b"PK\x03\x04 an Excel file")
    (tmp_path / "d.unknown").write_bytes(b"?")
    lines = "".join(f"{number}\n" for number in range(100_000))
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(lines.encode())[:-1000])
    *rows, last = read(tmp_path, "*")
    assert [row["rule"] for row in rows] == [
        "unreadable_file",
        None,
        "wrong_format",
        "unknown_format",
    ] + [None] * (len(rows) - 4)
    assert (last["rule"], last["origin"]) == ("unreadable_file", "e.txt.gz")
    assert [row["text"] for row in rows[4:]] == lines.split("\n")[: len(rows) - 4]
    assert len(rows) > 90_000
    assert rows[2]["reason"].startswith("c.csv: the first bytes are those of a ZIP archive")


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("ending", "compress"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)],
)
def test_compressed_files_are_read_whole(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    line = json.dumps({"text": TEXT}).encode() + b"\n"
    # Two streams one after the other, as `cat a.gz b.gz` makes them.
    (tmp_path / f"a.jsonl.{ending}").write_bytes(compress(line * 2) + compress(line))
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [TEXT]}), table)
    (tmp_path / f"b.parquet.{ending}").write_bytes(compress(table.getvalue().to_pybytes()))
    rows = read(tmp_path, f"*.{ending}")
    assert [row["text"] for row in rows] == [TEXT] * 4
    assert rows[2]["origin"] == f"a.jsonl.{ending}:3"


def test_undecodable_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [TEXT.encode()] * 30
    lines[4] = b"\xff\xfe broken"
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    rows = read(tmp_path, "a.txt")
    assert [row["origin"] for row in rows if row["rule"] == "undecodable"] == ["a.txt:5"]
    assert rows[4]["text"] == "\ufffd\ufffd broken"
    assert sum(row["text"] == TEXT for row in rows) == 29


def test_a_declared_encoding_counts_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("café\n".encode("cp1252"))
    assert read(tmp_path, "a.txt", encoding="cp1252")[0]["text"] == "café"
    with pytest.raises(SourceError, match="no encoding is called 'klingon'; correct 'encoding'"):
        read(tmp_path, "a.txt", encoding="klingon")


def test_broken_rows_stay_with_place_and_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n{"text": \n["a list"]\n\n')
    rows = read(tmp_path, "a.jsonl")
    assert [row["rule"] for row in rows] == [None, "broken_row", "broken_row", "broken_row"]
    assert rows[1]["text"] == '{"text": '
    assert rows[2]["reason"] == "a.jsonl:3: not a JSON object"
    assert rows[3]["reason"] == "a.jsonl:4: a blank line"


def test_a_broken_record_of_a_csv_costs_one_line(tmp_path: Path) -> None:
    content = (
        'id,text\n1,good\n2,too,many\n3,"two\nlines"\n4,"never closed\n5,good\n\n6,"a "b" c"\n'
    )
    (tmp_path / "a.csv").write_text(content)
    rows = read(tmp_path, "a.csv")
    assert [(row["origin"], row["rule"]) for row in rows] == [
        ("a.csv:2", None),
        ("a.csv:3", "broken_row"),
        ("a.csv:4", None),
        ("a.csv:6", "broken_row"),
        ("a.csv:7", None),
        ("a.csv:8", "broken_row"),
        ("a.csv:9", "broken_row"),
    ]
    assert rows[1]["reason"] == "a.csv:3: 3 fields where the header has 2"
    assert rows[2]["text"] == "two\nlines"
    assert rows[3]["text"] == '4,"never closed'


def test_csv_places_are_lines_of_the_file_whatever_could_not_be_read(tmp_path: Path) -> None:
    content = b'id,text\n1,"two\nlines"\n2,\xff\xfe\n' + b"3,good\n" * 20
    (tmp_path / "a.csv").write_bytes(content)
    rows = read(tmp_path, "a.csv")
    assert (rows[0]["text"], rows[0]["origin"]) == ("two\nlines", "a.csv:2")
    assert (rows[1]["rule"], rows[1]["origin"]) == ("undecodable", "a.csv:4")
    assert rows[2]["origin"] == "a.csv:5"


def test_quotes_of_tabular_text_are_quotes_only_where_they_fit(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"said" he\n2\t"a\tb"\n')
    assert [row["text"] for row in read(tmp_path, "a.tsv")] == ['"said" he', "a\tb"]


def test_a_csv_whose_header_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text\n1,2\n")
    (row,) = read(tmp_path, "a.csv")
    assert row["reason"] == "a.csv: the header names a column twice: ['text', 'text']"


def test_a_wrong_field_name_is_said_once_per_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    (row,) = read(tmp_path, "a.jsonl")
    assert row["rule"] == "missing_text"
    assert "name the right one under 'fields.text'" in row["reason"]


def test_rows_of_a_single_file_come_as_it_has_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"label": "x"}\n{\n')
    good, broken = read_file(UPath(tmp_path / "a.jsonl"), source("*"))
    assert (good.place, good.values, good.rule) == ("a.jsonl:1", {"label": "x"}, None)
    assert (broken.place, broken.rule) == ("a.jsonl:2", "broken_row")


def test_a_source_out_of_reach_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VERTICAL_DATA", "VERTICAL_WORK"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "first.jsonl").write_text("{}\n")
    spec = VerticalSpec(**tiny())
    away = source("http://127.0.0.1:1/a.jsonl").model_copy(update={"name": "second"})
    found = fingerprints(spec.model_copy(update={"sources": (spec.sources[0], away)}))
    assert (found["first"] == "missing", found["second"] == "missing") == (False, True)
    with pytest.raises(SourceError, match="source 'second' can't be reached"):
        list(read_source(away, UPath(tmp_path), "zh"))


def test_fingerprints_of_a_vertical_tell_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    monkeypatch.setenv("VERTICAL_WORK", str(tmp_path / "work"))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.txt").write_text(TEXT)
    declared = [source("a.txt"), source("b.txt").model_copy(update={"name": "other"})]
    spec = VerticalSpec(**tiny(sources=[one.model_dump(exclude_none=True) for one in declared]))
    first = fingerprints(spec)
    assert first["other"] == "missing"
    assert first == fingerprints(spec)
    assert first["shop"] != "missing"


LINE = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: json.dumps({"text": text}).encode()),
).map(lambda line: line.replace(b"\n", b""))


@pytest.mark.parametrize("ending", ["jsonl", "txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "big5"])
@settings(max_examples=40, deadline=None)
@given(lines=st.lists(LINE, min_size=1, max_size=8))
def test_rows_in_are_rows_out_whatever_the_bytes(
    ending: str, encoding: str, lines: list[bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"a.{ending}").write_bytes(b"".join(line + b"\n" for line in lines))
        rows = read(Path(folder), f"a.{ending}", encoding=encoding)
    assert [row["origin"] for row in rows] == [f"a.{ending}:{n + 1}" for n in range(len(lines))]
    assert all((row["rule"] is None) == (row["reason"] is None) for row in rows)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(min_size=1, max_size=40))
def test_no_bytes_at_all_make_a_reader_fail(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("txt", "jsonl", "csv", "tsv", "parquet", "txt.gz", "txt.zst"):
            (Path(folder) / f"a.{ending}").write_bytes(content)
        assert {row["source"] for row in read(Path(folder), "a.*")} == {"shop"}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), texts=st.lists(st.text(max_size=10), min_size=1, max_size=12))
def test_any_split_of_rows_into_files_gives_the_same_documents(
    data: st.DataObject, texts: list[str]
) -> None:
    rows = [json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)]
    where = data.draw(st.lists(st.sampled_from("abc"), min_size=len(rows), max_size=len(rows)))

    def documents(names: list[str]) -> set[tuple[str, str, str]]:
        with tempfile.TemporaryDirectory() as folder:
            for name, row in zip(names, rows, strict=True):
                with (Path(folder) / f"{name}.jsonl").open("a") as file:
                    file.write(row)
            found = read(Path(folder), "*.jsonl")
        return {(row["doc_id"], row["text"], row["meta"]) for row in found}

    assert documents(where) == documents(["all"] * len(rows))
