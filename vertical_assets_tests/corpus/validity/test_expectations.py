"""Great Expectations agrees with the rules, says where it does not, and leaves a site to read."""

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.corpus.validity import expectations
from vertical_assets.corpus.validity.expectations import (
    VALIDATED,
    Expectation,
    validate,
    validate_new,
)
from vertical_assets.corpus.validity.rules import apply_rules
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets.store.tables import TableWriter
from vertical_assets.store.versions import commit, current
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.corpus.validity.test_rules import raw

TODAY = datetime.date(2026, 5, 1)
SPEC = VerticalSpec(
    **tiny(
        rules={
            "required": ["age"],
            "fields": [
                {"field": "age", "number": True, "min": 0, "max": 150},
                {"field": "day", "date": "%Y-%m-%d", "min": "1500-01-01", "max": "today"},
                {"field": "published_at", "date": "iso"},
                {"field": "code", "pattern": r"(?i)[a-z]\d\d"},
                {"field": "sex", "allowed": ["f", "m"]},
            ],
        }
    )
)
GOOD: dict[str, object] = {"age": "42", "day": "1512-01-01", "code": "a00", "sex": "f"}


def batches(*metas: Mapping[str, object], **row: Any) -> Iterator[pa.RecordBatch]:
    """One batch for each row, so that chunks can end anywhere."""
    for meta in metas:
        yield raw({"source": "first", "meta": json.dumps(meta), **row})


def failed(outcomes: list[Expectation]) -> dict[str, int]:
    return {each.column: each.unexpected for each in outcomes if not each.passed}


def test_what_passed_the_rules_meets_every_expectation() -> None:
    rows: list[dict[str, object]] = [GOOD, {"age": 0}, {"age": " 7"}, {**GOOD, "day": " "}]
    for batch in batches(*rows, published_at="2024-02-29T08:00:00+08:00"):
        assert apply_rules(batch, SPEC.rules, today=TODAY)[1].num_rows == 0
    found = validate(batches(*rows, published_at="2024-02-29"), SPEC, today=TODAY)
    assert failed(found) == {}
    assert len(found) == 14


@pytest.mark.parametrize("chunk", [2, 1000])
def test_what_broke_a_rule_is_counted_over_all_chunks(
    chunk: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(expectations, "CHUNK_ROWS", chunk)
    rows = [GOOD, {**GOOD, "age": "151"}, {**GOOD, "age": "old"}, {**GOOD, "age": None}, GOOD,
            {**GOOD, "day": "2026-05-02"}, {**GOOD, "day": "1.5.2026"}, {**GOOD, "code": "a000"},
            {**GOOD, "sex": "x"}, {**GOOD, "sex": "y"}, GOOD]  # fmt: skip
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "old.html").touch()
    outcomes = validate(batches(*rows, published_at="yesterday"), SPEC, docs, today=TODAY)
    counts: dict[tuple[str, str], int] = {}
    for each in outcomes:
        if not each.passed:
            counts[each.column, each.name.removeprefix("expect_column_values_to_")] = (
                each.unexpected
            )
    assert counts == {
        ("age", "not_be_null"): 1,
        ("age", "match_regex"): 1,
        ("age (number)", "be_between"): 1,
        ("day", "match_strftime_format"): 1,
        ("day (yyyymmdd)", "be_between"): 1,
        ("published_at", "match_regex"): 11,
        ("code", "match_regex"): 1,
        ("sex", "be_in_set"): 2,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]  # nothing left of the building
    assert not (docs / "old.html").exists()
    index = (docs / "index.html").read_text("utf-8")
    (page,) = docs.glob("validations/**/*.html")
    assert page.relative_to(docs).as_posix() in index
    text = page.read_text("utf-8")
    assert "day (yyyymmdd)" in text
    assert "yesterday" in text


def test_no_documents_are_one_failed_expectation() -> None:
    assert failed(validate(iter([]), SPEC, today=TODAY)) == {"table": 0}


def test_unknown_sources_and_lengths_are_told() -> None:
    outcomes = validate(batches(GOOD, source="elsewhere", text="x"), SPEC, today=TODAY)
    assert failed(outcomes) == {"source": 1, "text (characters)": 1}


def test_what_was_validated_is_not_validated_again(tmp_path: Path) -> None:
    """Rows that met everything count, those that did not are looked at until they do."""

    def written(*rows: dict[str, object], previous: Table | None = None) -> TableWriter:
        writer = TableWriter(UPath(tmp_path), DOCUMENTS, previous)
        for number, row in enumerate(rows):
            if not writer.reuse(str(number)):
                with writer.part(str(number)) as part:
                    for batch in batches(row):
                        part.append(batch.select(DOCUMENTS.names))
        return writer

    good, wrong = GOOD, {**GOOD, "age": "old"}
    for rows, bad, validated in [((good,), 0, 1), ((good, wrong), 1, 1), ((good, wrong), 1, 1)]:
        try:
            previous = Table((current(UPath(tmp_path) / "valid"),))
        except FileNotFoundError:
            previous = None
        writer = written(*rows, previous=previous)
        outcomes = validate_new(writer, SPEC, None, today=TODAY)
        assert failed(outcomes).get("age", 0) == bad
        assert writer.figures[VALIDATED] == validated
        commit(writer.close(), UPath(tmp_path) / "valid")
