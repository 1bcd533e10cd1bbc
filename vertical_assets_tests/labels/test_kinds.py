"""Annotations of every kind of task: people's files against the standard, simulated annotators."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.corpus.reading.sources import SourceError, document_id
from vertical_assets.labels.annotations import Collected, read_annotations
from vertical_assets.labels.items import items_of
from vertical_assets.labels.simulation import simulate_annotations
from vertical_assets.labels.targets import Span, targets_of
from vertical_assets.spec import Simulate, VerticalSpec
from vertical_assets.store.contracts import DUPLICATES
from vertical_assets_tests.bc5cdr import bc5cdr, documents
from vertical_assets_tests.conftest import tiny

TASKS: dict[str, dict[str, Any]] = {
    "multi_label": {"labels": {"price": "", "taste": "", "service": ""}},
    "entities": {"labels": {"Drug": "", "Sign": ""}},
    "question_answering": {"question_types": {"steps": "", "definition": ""}},
    "regression": {"range": [1, 5]},
}
TEXT = "Aspirin helps against pain; too much aspirin harms."
ME = {"source": "shop", "id": "1", "annotator_id": "ann"}


def spec_of(kind: str, **changes: Any) -> VerticalSpec:
    task = {"name": "t", "kind": kind, **TASKS[kind]}
    defaults = {"task": task, "language": "en", "annotation": {"path": "*.jsonl"}}
    return VerticalSpec(**tiny(**{**defaults, **changes}))


def corpus(rows: list[dict[str, Any]], source: str = "shop") -> pa.Table:
    """DEDUP_DOCUMENTS as far as labels read them; `changed` says that cleaning changed the text."""
    changes = [{"field": "text", "step": "clean", "what": "width", "count": 1}]
    return pa.table(
        {
            "doc_id": [document_id(source, row["id"]) for row in rows],
            "meta": [json.dumps(row) for row in rows],
            "text": [row["text"] for row in rows],
            "changes": [json.dumps(changes if row.get("changed") else []) for row in rows],
        }
    )


DOCUMENTS = corpus(
    [
        {"id": "1", "text": TEXT},
        {"id": "2", "text": "A rash."},
        {"id": "3", "text": "3 g of paracetamol", "changed": True},
    ]
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    return tmp_path / "tiny"


def read(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Collected:
    (folder / "labels.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    spec = spec_of(kind)
    items = items_of(spec, DOCUMENTS, DUPLICATES.empty_table())
    return read_annotations(spec, items, [UPath(folder / "labels.jsonl")], "labels")


GOOD: list[tuple[str, dict[str, Any], Any]] = [
    ("multi_label", {"labels": ["taste", "price", "taste"]}, ("price", "taste")),
    ("multi_label", {"labels": []}, ()),
    ("multi_label", {"labels": '["service"]'}, ("service",)),
    ("regression", {"value": 4}, 4.0),
    ("regression", {"value": "2.5"}, 2.5),
    ("entities", {"spans": []}, ()),
    (
        "entities",
        {
            "spans": [
                {"start": 22, "end": 26, "label": "Sign"},
                {"quote": "Aspirin", "label": "Drug"},
            ]
        },
        (Span(0, 7, "Drug"), Span(22, 26, "Sign")),
    ),
    ("entities", {"start": 22, "end": 26, "label": "Sign"}, (Span(22, 26, "Sign"),)),
    (
        "question_answering",
        {"question": "What helps?", "question_type": "steps", "spans": [{"quote": "Aspirin"}]},
        (Span(0, 7, "answer"),),
    ),
    ("question_answering", {"question": "Who?", "question_type": "steps", "spans": []}, ()),
]


@pytest.mark.parametrize(("kind", "said", "target"), GOOD)
def test_what_people_said_is_read(folder: Path, kind: Any, said: Any, target: Any) -> None:
    collected = read(folder, kind, [{**ME, **said}])
    assert collected.rejected.to_pylist() == []
    assert targets_of(collected.annotations, kind) == [target]
    (row,) = collected.annotations.to_pylist()
    assert (row["question"], row["label"]) == (said.get("question"), said.get("question_type"))


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("multi_label", {"labels": ["happy"]}, "unknown_label"),
    ("multi_label", {"label": "price"}, "missing_labels"),
    ("regression", {"value": 6}, "out_of_range"),
    ("regression", {"value": "much"}, "no_number"),
    ("regression", {"value": True}, "no_number"),
    ("regression", {"value": "inf"}, "no_number"),
    ("entities", {}, "missing_spans"),
    ("entities", {"spans": [{"start": 0, "end": 7, "label": "Food"}]}, "unknown_label"),
    ("entities", {"spans": [{"start": 0, "end": 99, "label": "Drug"}]}, "outside_text"),
    ("entities", {"spans": [[0, 7, "Drug"]]}, "missing_place"),
    (
        "entities",
        {
            "spans": [
                {"start": 0, "end": 7, "label": "Drug"},
                {"start": 0, "end": 13, "label": "Sign"},
            ]
        },
        "overlapping_spans",
    ),
    ("question_answering", {"spans": [], "question_type": "steps"}, "missing_question"),
    ("question_answering", {"question": "Why?", "spans": []}, "unknown_question_type"),
]


@pytest.mark.parametrize(("kind", "said", "rule"), BAD)
def test_what_breaks_the_standard_is_set_aside(
    folder: Path, kind: Any, said: Any, rule: str
) -> None:
    collected = read(folder, kind, [{**ME, **said}])
    assert collected.rejected["rule"].to_pylist() == [rule]
    assert collected.rejected["reason"][0].as_py()
    assert (collected.rows, collected.annotations.num_rows) == (1, 0)


def test_rows_of_one_span_each_are_joined(folder: Path) -> None:
    drug, sign = (
        {"start": s, "end": e, "label": name} for s, e, name in ((0, 7, "Drug"), (22, 26, "Sign"))
    )
    other = {**ME, "annotator_id": "bob"}
    rows: list[dict[str, Any]] = [
        {**ME, **sign},
        {**other, **drug},
        {**ME, **drug},
        {**ME, **drug},
        {**other, "spans": []},
        {**ME, "id": "2", "spans": []},
    ]
    collected = read(folder, "entities", rows)
    assert targets_of(collected.annotations, "entities") == [
        (Span(0, 7, "Drug"), Span(22, 26, "Sign")),
        (Span(0, 7, "Drug"),),
        (),
    ]
    assert collected.rejected["rule"].to_pylist() == ["repeated", "repeated"]
    assert collected.rows == len(rows)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("fault", "rule"),
    [({"end": 99}, "outside_text"), ({"annotator_kind": "robot"}, "unknown_kind")],
)
def test_an_annotation_with_a_bad_span_is_no_annotation(
    folder: Path, first: bool, fault: dict[str, Any], rule: str
) -> None:
    """The spans that are left would say that there is nothing at the bad one's place."""
    good = {**ME, "start": 0, "end": 7, "label": "Drug"}
    bad = {**ME, "start": 22, "end": 26, "label": "Sign", **fault}
    collected = read(folder, "entities", [bad, good] if first else [good, bad])
    assert collected.annotations.num_rows == 0
    assert set(collected.rejected["rule"].to_pylist()) == {rule, "incomplete"}
    assert collected.rows == 2


def test_spans_in_a_text_that_cleaning_changed_need_their_quote(folder: Path) -> None:
    span = {**ME, "id": "3", "start": 8, "end": 19, "label": "Drug"}
    quoted = {**span, "annotator_id": "bob", "quote": "paracetamol"}
    collected = read(folder, "entities", [span, quoted])
    assert targets_of(collected.annotations, "entities") == [(Span(7, 18, "Drug"),)]
    assert collected.rejected["rule"].to_pylist() == ["changed_text"]


def simulated(kind: str, rows: list[dict[str, Any]], rate: float = 0.1) -> Collected:
    how = Simulate(gold="gold", annotators=3, error_rate=rate)
    spec = spec_of(kind, annotation={"simulate": how.model_dump()})
    return simulate_annotations(corpus(rows), how, spec)


GOLD: dict[str, Any] = {
    "multi_label": ["price", "service"],
    "entities": [
        {"start": 0, "end": 7, "label": "Drug"},
        {"start": 22, "end": 26, "label": "Sign"},
    ],
    "question_answering": [
        {"question": "What helps?", "question_type": "steps", "spans": [{"quote": "Aspirin"}]}
    ],
    "regression": 3,
}
RIGHT: dict[str, Any] = {
    "multi_label": ("price", "service"),
    "entities": (Span(0, 7, "Drug"), Span(22, 26, "Sign")),
    "question_answering": (Span(0, 7, "answer"),),
    "regression": 3.0,
}


def many(kind: str, count: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "text": TEXT, "gold": GOLD[kind]} for n in range(count)]


@pytest.mark.parametrize("kind", TASKS)
def test_simulated_annotators_err_at_the_stated_rate(kind: Any) -> None:
    items = 1500
    table = simulated(kind, many(kind, items)).annotations
    assert set(table["annotator_kind"].to_pylist()) == {"simulated"}
    said, right = targets_of(table, kind), RIGHT[kind]
    if kind == "regression":
        assert np.std(said) == pytest.approx(0.1 * 4, rel=0.05)
        assert min(said) >= 1
        assert max(said) <= 5
        return
    decisions = {"multi_label": 3, "entities": 2, "question_answering": 1}[kind]
    wrong = np.mean([each != right for each in said])
    expected = 1 - 0.9**decisions  # an item is right if all its decisions are
    assert wrong == pytest.approx(expected, abs=4 * np.sqrt(expected / len(said)))


def test_spans_are_dropped_renamed_and_moved_by_a_word() -> None:
    said = targets_of(simulated("entities", many("entities", 800), 0.3).annotations, "entities")
    seen = {span for spans in said for span in spans}
    assert any(len(spans) < 2 for spans in said)
    assert Span(0, 7, "Sign") in seen
    moved = {TEXT[s.start : s.end] for s in seen} - {"Aspirin", "pain"}
    assert moved == {"Aspirin helps", "against pain", "pain;"}


@pytest.mark.parametrize("kind", TASKS)
def test_new_documents_change_no_earlier_annotation(kind: str) -> None:
    few = simulated(kind, many(kind, 20)).annotations
    again = simulated(kind, many(kind, 35)).annotations
    assert again.slice(0, few.num_rows).equals(few)
    assert few.num_rows == 60


def test_gold_that_does_not_fit_is_set_aside_or_named() -> None:
    rows = [
        *many("entities", 2),
        {"id": "9", "text": TEXT, "gold": [{"start": 0, "end": 999, "label": "Drug"}]},
    ]
    collected = simulated("entities", rows)
    assert collected.rejected["rule"].to_pylist() == ["outside_text"]
    assert collected.annotations.num_rows == 6
    with pytest.raises(SourceError, match="nothing fits task 't'; the first of 1 reasons"):
        simulated("entities", rows[2:])
    wrong = [{"id": "9", "text": TEXT, "gold": [{"start": 0, "end": 7, "label": "Food"}]}]
    with pytest.raises(SourceError, match="'Food' is no label of task 't'"):
        simulated("entities", wrong)


def test_all_gold_spans_of_bc5cdr_are_found_again() -> None:
    rows = documents("train", 300)
    spec = VerticalSpec(**bc5cdr())
    how = Simulate(gold="entities", annotators=2, error_rate=0.0)
    collected = simulate_annotations(corpus(rows, "bc5cdr"), how, spec)
    assert collected.rejected.num_rows == 0
    said = targets_of(collected.annotations, "entities")[::2]
    covered = [
        [row["text"][span.start : span.end] for span in spans]
        for row, spans in zip(rows, said, strict=True)
    ]
    assert covered == [[span["quote"] for span in row["entities"]] for row in rows]
    assert sum(map(len, covered)) > 500
