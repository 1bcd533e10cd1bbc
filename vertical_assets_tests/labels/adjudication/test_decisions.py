"""Decisions: a person's word on a disputed item, with name, time and reason, or not at all."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vertical_assets.corpus.reading.sources import document_id
from vertical_assets.labels.adjudication.decisions import (
    Decided,
    decision_fingerprint,
    read_decisions,
    standing,
)
from vertical_assets.labels.items import Items, items_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DUPLICATES
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(annotation={}))
GOOD = {
    "source": "shop",
    "id": "1",
    "label": "positive",
    "decided_by": "Ann Lee",
    "decided_at": "2024-05-02T08:00:00+02:00",
    "reason": "irony",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    folder = tmp_path / "tiny" / "adjudication"
    folder.mkdir(parents=True)
    return folder


def known() -> Items:
    """Documents 1 to 3 of the source `shop`; 9 is a copy of 3."""
    ids = [document_id("shop", str(number)) for number in (1, 2, 3)]
    copies = [
        {
            "cluster_id": ids[2],
            "kept_id": ids[2],
            "dropped_id": document_id("shop", "9"),
            "method": "exact",
            "similarity": 1.0,
        }
    ]
    documents = pa.table({"doc_id": ids, "meta": ["{}"] * 3})
    return items_of(SPEC, documents, pa.Table.from_pylist(copies, DUPLICATES))


def read(folder: Path, rows: list[dict[str, Any]], name: str = "decisions.jsonl") -> Decided:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_decisions(SPEC, known())
    assert found.conserved
    return found


def test_a_decision_says_what_who_when_and_why(folder: Path) -> None:
    (row,) = read(folder, [GOOD]).decisions.to_pylist()
    assert row["item_id"] == document_id("shop", "1")
    assert (row["label"], row["decided_by"], row["reason"]) == ("positive", "Ann Lee", "irony")
    assert row["decided_at"] == "2024-05-02T06:00:00+00:00"
    assert (row["stands"], row["origin"]) == (True, "decisions.jsonl:1")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"decided_by": " "}, "missing_decided_by"),
        ({"reason": None}, "missing_reason"),
        ({"decided_at": ""}, "missing_decided_at"),
        ({"decided_at": "yesterday"}, "missing_decided_at"),
        ({"label": "happy"}, "unknown_label"),
        ({"label": None}, "unknown_label"),
        ({"id": "77"}, "unknown_item"),
        ({"task": "blood test"}, "other_task"),
    ],
)
def test_a_row_without_name_time_reason_or_label_is_set_aside(
    folder: Path, change: dict[str, Any], rule: str
) -> None:
    found = read(folder, [{**GOOD, **change}, {**GOOD, "id": "2"}])
    assert found.rejected["rule"].to_pylist() == [rule]
    assert found.decisions.num_rows == 1


def test_rows_of_the_queue_that_are_left_open_decide_nothing(folder: Path) -> None:
    blank = {"label": None, "decided_by": "", "decided_at": "", "reason": ""}
    found = read(folder, [{**GOOD, **blank}, GOOD, {"id": "2", "source": "shop"}])
    assert (found.open, found.decisions.num_rows, found.rejected.num_rows) == (2, 1, 0)


def test_the_latest_decision_stands_and_the_others_are_kept(folder: Path) -> None:
    later = {**GOOD, "label": "negative", "decided_at": "2024-05-02T07:00:00+00:00"}
    found = read(folder, [later, GOOD, {**GOOD, "id": "9"}, {**GOOD, "id": "3"}])
    assert found.decisions["stands"].to_pylist() == [True, False, False, True]
    stands = standing(found.decisions)
    assert stands["label"].to_pylist() == ["negative", "positive"]
    assert stands["item_id"].to_pylist()[1] == document_id("shop", "3")


def test_spreadsheets_are_read_too_and_every_change_is_seen(folder: Path) -> None:
    assert decision_fingerprint(SPEC) == "missing"
    assert read_decisions(SPEC, known()).read == 0
    (folder / "decisions_ann.csv").write_text(
        ",".join(GOOD) + "\n" + ",".join(GOOD.values()) + "\n"
    )
    assert read_decisions(SPEC, known()).decisions.num_rows == 1
    before = decision_fingerprint(SPEC)
    (folder / "queue.jsonl").write_text("{}\n")  # no decision
    assert decision_fingerprint(SPEC) == before
    read(folder, [GOOD], "decisions_bob.jsonl")
    assert decision_fingerprint(SPEC) != before


def test_an_editors_backup_decides_nothing(folder: Path) -> None:
    """It is read after the file, and would win where both were written in the same second."""
    read(folder, [{**GOOD, "label": "negative"}], "decisions.jsonl~")
    found = read(folder, [GOOD])
    assert found.decisions["label"].to_pylist() == ["positive"]
