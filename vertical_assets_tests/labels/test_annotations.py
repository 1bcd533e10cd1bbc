"""Annotations: people's files against the label standard, and simulated annotators."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.corpus.reading.sources import SourceError, document_id
from vertical_assets.labels import annotations
from vertical_assets.labels.annotations import Collected, read_annotations, read_classes, read_rows
from vertical_assets.labels.items import Items, items_of
from vertical_assets.labels.simulation import simulate_annotations
from vertical_assets.spec import Simulate, VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS, DUPLICATES
from vertical_assets_tests.conftest import tiny

HOW = Simulate(gold="sentiment", annotators=3, error_rate=0.1)
SPEC = VerticalSpec(**tiny(annotation={"simulate": HOW.model_dump()}))
FILES = VerticalSpec(**tiny(annotation={"path": "labels/*.jsonl"}))


def documents(count: int) -> pa.Table:
    golds = ["positive" if n % 2 else "negative" for n in range(count)]
    return pa.table(
        {
            "doc_id": [document_id("shop", str(n)) for n in range(count)],
            "meta": [json.dumps({"sentiment": gold}) for gold in golds],
        }
    )


def test_simulated_annotators_err_at_the_stated_rate_and_say_that_they_are_simulated() -> None:
    table = simulate_annotations(documents(20_000), HOW, SPEC).annotations
    assert set(table["annotator_kind"].to_pylist()) == {"simulated"}
    said = np.array(table["label"].to_pylist()).reshape(-1, 3)
    gold = np.array(["negative", "positive"] * 10_000)[:, None]
    rates = (said != gold).mean(axis=0)
    # Three standard errors of a share of 0.1 over 20,000 items.
    assert np.allclose(rates, 0.1, atol=3 * np.sqrt(0.09 / 20_000))
    together = ((said[:, 0] != gold[:, 0]) & (said[:, 1] != gold[:, 0])).mean()
    assert together == pytest.approx(0.01, abs=3 * np.sqrt(0.01 / 20_000))


def test_new_documents_change_no_earlier_label() -> None:
    few = simulate_annotations(documents(50), HOW, SPEC).annotations
    many = simulate_annotations(documents(80), HOW, SPEC).annotations
    assert many.slice(0, few.num_rows).equals(few)


def test_gold_that_is_no_label_is_named() -> None:
    wrong = SPEC.model_copy(
        update={"task": SPEC.task.model_copy(update={"labels": {"a": "", "b": ""}})}
    )
    with pytest.raises(SourceError, match="is no label of task 'sentiment'; add it under"):
        simulate_annotations(documents(4), HOW, wrong)


def test_rows_that_break_the_standard_are_set_aside_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    folder = tmp_path / "tiny" / "labels"
    folder.mkdir(parents=True)
    good = {"source": "shop", "id": "1", "annotator_id": "ann", "label": "positive"}
    rows = [
        good,
        {**good, "annotator_id": "bob"},
        {**good, "label": "happy"},
        {**good, "id": "99"},
        {**good, "annotator_id": ""},
        good,
        {**good, "item_id": document_id("shop", "dropped"), "annotator_id": "cy"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n"
    (folder / "batch.jsonl").write_text(lines)
    dropped = pa.Table.from_pylist(
        [
            {
                "cluster_id": document_id("shop", "1"),
                "kept_id": document_id("shop", "1"),
                "dropped_id": document_id("shop", "dropped"),
                "method": "exact",
                "similarity": 1.0,
            }
        ],
        DUPLICATES,
    )
    collected = read_annotations(
        FILES, items_of(FILES, documents(5), dropped), [UPath(folder / "batch.jsonl")], "batch"
    )
    assert collected.rows == 8
    assert collected.annotations["annotator_id"].to_pylist() == ["ann", "bob", "cy"]
    assert set(collected.annotations["item_id"].to_pylist()) == {document_id("shop", "1")}
    assert collected.rejected["rule"].to_pylist() == [
        "unknown_label",
        "unknown_item",
        "missing_annotator",
        "repeated",
        "broken_row",
    ]
    assert collected.rejected["origin"].to_pylist()[0] == "batch.jsonl:3"


def read(spec: VerticalSpec, folder: Path, rows: list[dict[str, Any]]) -> Collected:
    file = folder / "batch.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = items_of(spec, documents(5), DUPLICATES.empty_table())
    found = read_annotations(spec, items, [UPath(file)], "batch")
    assert found.conserved
    return found


def test_one_person_is_one_annotator_however_the_name_is_written(tmp_path: Path) -> None:
    """Else somebody agrees with themselves, and the batch passes the gate."""
    names = ["ann", " ann ", 7, "7", 7.0, 0]
    good = {"source": "shop", "id": "1", "label": "positive"}
    found = read(FILES, tmp_path, [{**good, "annotator_id": name} for name in names])
    assert found.annotations["annotator_id"].to_pylist() == ["ann", "7", "0"]
    assert found.rejected["rule"].to_pylist() == ["repeated"] * 3
    for name in (True, ["ann"], {"id": 7}, 7.5):
        (refused,) = read(FILES, tmp_path, [{**good, "annotator_id": name}]).rejected.to_pylist()
        assert refused["rule"] == "missing_annotator"


def test_how_long_it_took_is_kept_where_it_is_known(tmp_path: Path) -> None:
    good = {"source": "shop", "id": "1", "label": "positive"}
    said = [3.5, "4", "soon", -1, True, None]
    rows = [{**good, "annotator_id": f"a{n}", "lead_time_s": s} for n, s in enumerate(said)]
    found = read(FILES, tmp_path, rows).annotations
    assert found["lead_time_s"].to_pylist() == [3.5, 4.0, None, None, None, None]


def test_labels_that_are_numbers_may_be_written_as_numbers(tmp_path: Path) -> None:
    task = {"name": "stars", "labels": {"1": "bad", "2": "fair"}, "level": "ordinal"}
    spec = VerticalSpec(**tiny(annotation={"path": "*.jsonl"}, task=task))
    good = {"source": "shop", "id": "1"}
    said = [1, "1", 2.0, 1.5, True, 3]
    rows = [{**good, "annotator_id": f"a{n}", "label": label} for n, label in enumerate(said)]
    found = read(spec, tmp_path, rows)
    assert found.annotations["label"].to_pylist() == ["1", "1", "2"]
    assert found.rejected["rule"].to_pylist() == ["unknown_label"] * 3


def test_rows_of_another_task_and_of_unknown_kinds_are_set_aside(tmp_path: Path) -> None:
    """`positive` is a label of both tasks, and means something else in the other one."""
    good = {"source": "shop", "id": "1", "annotator_id": "ann", "label": "positive"}
    found = read(
        FILES,
        tmp_path,
        [
            {**good, "task": "blood test"},
            {**good, "annotator_kind": "robot"},
            {**good, "task": "sentiment", "annotator_kind": "human"},
        ],
    )
    assert found.annotations.num_rows == 1
    assert found.rejected["rule"].to_pylist() == ["other_task", "unknown_kind"]
    assert "a vertical of their own" in found.rejected["reason"][0].as_py()
    assert "human, rule, model, simulated" in found.rejected["reason"][1].as_py()


ONE = document_id("shop", "1")
ODD = [None, "", 0, 7, 1.5, True, [], ["ann"], {"a": 1}]
rows_of_people = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"label": st.sampled_from(["positive", "negative", "happy", *ODD])},
            optional={
                "item_id": st.sampled_from(
                    [document_id("shop", "1"), "dropped", "gone", "x", *ODD]
                ),
                "source": st.sampled_from(["shop", None, 3]),
                "id": st.sampled_from(["0", 1, "1", "9", None]),
                "annotator_id": st.sampled_from(["ann", " ann", "bob", "7", *ODD]),
                "annotator_kind": st.sampled_from(["human", "model", "robot", *ODD]),
                "task": st.sampled_from(["sentiment", "topic", *ODD]),
                "lead_time_s": st.sampled_from([3.5, "4", "soon", -1, float("inf"), *ODD]),
                "created_at": st.sampled_from(
                    ["2026-01-02", "2026-01-02T03:04:05+08:00", "0001-01-01T00:00+08:00", *ODD]
                ),
            },
        ),
        st.sampled_from([None, 3, [1]]),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(rows_of_people, st.integers(1, 5))
def test_column_by_column_is_row_by_row(rows: list[Any], at_once: int) -> None:
    """Every row is found, rejected by the same rule, or forgotten, whichever way it is read."""
    items = Items(
        frozenset(document_id("shop", str(n)) for n in range(3)),
        {},
        {"dropped": document_id("shop", "1")},
        frozenset(["gone"]),
    )
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "ROWS_AT_ONCE", at_once)
        files = [UPath(folder) / f"{name}.jsonl" for name in ("first", "second")]
        for file, part in zip(files, (rows[::2], rows[1::2]), strict=True):
            file.write_text("".join(json.dumps(row) + "\n" for row in part) + "{broken\n")
        by_row = read_rows(FILES, items, files, "batch")
        by_column = read_classes(FILES, items, files, "batch")
    assert by_column == by_row
    assert by_column.conserved
    assert by_column.read == len(rows) + 2


def test_classes_are_read_column_by_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rows that break the standard are looked at one by one."""
    monkeypatch.setattr(annotations, "read_rows", None)
    monkeypatch.setattr(annotations, "_add", None)
    items = items_of(FILES, documents(40), DUPLICATES.empty_table())
    rows = [
        {"source": "shop", "id": n % 40, "annotator_id": f"a{n // 40}", "label": "positive"}
        for n in range(80)
    ]
    file = tmp_path / "batch.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_annotations(FILES, items, [UPath(file)], "batch").annotations
    assert found.schema == ANNOTATIONS
    assert found.num_rows == 80
