"""Pairs: a document with a prompt is one, one without is only read, an unknown type is told."""

import json

import pyarrow as pa
import pytest

from vertical_assets.labels.generation.pairs import find_pairs, pairs_of
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny, tiny_generation


def documents(*metas: dict[str, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "doc_id": f"d{number}",
                "source": "pairs",
                "origin": f"pairs.jsonl:{number + 1}",
                "text": f"answer {number}",
                "meta": json.dumps(meta),
                "cluster_id": f"c{number}",
            }
            for number, meta in enumerate(metas)
        ]
    )


def test_every_document_is_a_pair_or_rejected_or_without_a_prompt() -> None:
    spec = VerticalSpec(**tiny_generation())
    found = find_pairs(
        documents(
            {"question": "Why?", "question_type": "steps"},
            {"title": "only to read"},
            {"question": "Who?", "question_type": "riddle"},
            {"question": " ", "question_type": "steps"},
        ),
        spec,
    )
    (pair,), (rejected,) = found.pairs.to_pylist(), found.rejected.to_pylist()
    assert (pair["item_id"], pair["prompt"], pair["text"]) == ("d0", "Why?", "answer 0")
    assert (pair["label"], pair["method"]) == ("steps", "source")
    assert rejected["reason"] == (
        "'riddle' is no type of question of task 'explain'; there are: definition, steps, "
        "comparison"
    )
    assert rejected["origin"] == "pairs.jsonl:3"
    assert found.without_prompt == 2


def test_a_group_stays_in_one_split() -> None:
    spec = VerticalSpec(**tiny_generation(split={"group": "module"}))
    rows = [
        {"question": f"q{n}", "question_type": "steps", "module": f"m{n % 20}"} for n in range(200)
    ]
    pairs = find_pairs(documents(*rows), spec).pairs
    splits: dict[str, set[str]] = {}
    for row in pairs.to_pylist():
        splits.setdefault(row["cluster_id"], set()).add(row["split"])
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())
    assert sum(len(pairs_of(pairs, name)) for name in ("train", "validation", "test")) == 200


def test_a_vertical_without_pairs_has_none_to_find() -> None:
    with pytest.raises(ValueError, match=r"no annotation\.pairs"):
        find_pairs(documents({}), VerticalSpec(**tiny()))
