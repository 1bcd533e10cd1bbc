"""Databases: a query's rows are documents; passwords are never shown."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from vertical_assets.corpus.reading.sources import SourceError, document_id, parts_of, read_part
from vertical_assets.spec import Source

QUERY = "SELECT id, body, stars, '12:30' AS at, '100%' AS share FROM reviews ORDER BY id"


def source(database: str, query: str = QUERY) -> Source:
    return Source(
        name="shop",
        kind="user",
        licence="own",
        database=database,
        query=query,
        fields={"text": "body"},
    )


def read(declared: Source) -> list[dict[str, Any]]:
    (part,) = parts_of(declared, UPath())
    return [row for batch in read_part(part, declared, "zh") for row in batch.to_pylist()]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE reviews (id INTEGER, body TEXT, stars REAL)")
        rows = [(number, f"评论{number}", 4.5) for number in range(3000)]
        connection.executemany("INSERT INTO reviews VALUES (?, ?, ?)", rows)
    return file


def test_rows_of_a_query_are_documents(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}")
    rows = read(source("env:SHOP_URL"))
    assert len(rows) == 3000
    assert rows[7]["text"] == "评论7"
    assert rows[7]["doc_id"] == document_id("shop", "7")
    assert rows[7]["meta"] == '{"at":"12:30","share":"100%","stars":4.5}'
    assert rows[7]["origin"] == "query:8"


def test_the_fingerprint_is_that_of_the_rows(database: Path) -> None:
    declared = source(f"sqlite:///{database}")
    (before,) = parts_of(declared, UPath())
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    assert parts_of(declared, UPath()) == [before]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE reviews SET stars = 1 WHERE id = 5")
    assert parts_of(declared, UPath()) != [before]
    with pytest.raises(SourceError, match="result changed while it was read"):
        list(read_part(before, declared, "zh"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("env:NOT_SET_ANYWHERE", "environment variable 'NOT_SET_ANYWHERE' is not set"),
        ("no url with geheim", "no SQLAlchemy URL"),
        ("postgresql://me:gehe@im:port/db", "no SQLAlchemy URL"),
        ("nosuchdb://me:geheim@host/db", "install the driver of 'nosuchdb'"),
        ("sqlite://", "no such table: reviews"),
    ],
)
def test_a_database_that_does_not_answer_is_an_error_without_the_password(
    url: str, words: str
) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parts_of(source(url), UPath())
    assert "source 'shop'" in str(caught.value)
    assert "gehe" not in str(caught.value)
