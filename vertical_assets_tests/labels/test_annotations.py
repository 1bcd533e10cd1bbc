"""Annotations: people's files against the label standard, and simulated annotators."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.corpus.reading.sources import SourceError, document_id
from vertical_assets.labels.annotations import items_of, read_annotations
from vertical_assets.labels.simulation import simulate_annotations
from vertical_assets.spec import Simulate, VerticalSpec
from vertical_assets.store.contracts import DUPLICATES
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
