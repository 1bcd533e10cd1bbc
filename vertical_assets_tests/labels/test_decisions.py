"""Decisions: majority and median by kind of task; what people are split on waits."""

import json
from typing import Any

import pyarrow as pa
import pytest

from vertical_assets.labels.decisions import decide
from vertical_assets.labels.gold.balance import balance, rare
from vertical_assets.labels.simulation import simulate_annotations
from vertical_assets.labels.splits import TEST, TRAIN, items_of
from vertical_assets.labels.targets import Span, kind_of, targets_of
from vertical_assets.spec import Simulate, VerticalSpec
from vertical_assets.store.contracts import DEDUP_DOCUMENTS
from vertical_assets_tests.bc5cdr import bc5cdr
from vertical_assets_tests.bc5cdr import documents as bc5cdr_rows
from vertical_assets_tests.labels.gold.test_majority import documents, gold_of
from vertical_assets_tests.labels.test_kinds import TASKS, corpus, many, simulated, spec_of

A, B, C = Span(0, 4, "x"), Span(6, 9, "x"), Span(0, 6, "x")
CASES: list[tuple[str, Any, list[Any], Any, float]] = [
    ("a label needs more than half", "multi_label", [("x",), ("x", "y"), ("x",)], ("x",), 2 / 3),
    ("nothing is an answer", "multi_label", [(), (), ("y",)], (), 2 / 3),
    ("all agree", "multi_label", [("x", "y"), ("x", "y")], ("x", "y"), 1.0),
    ("half is a tie", "multi_label", [("x",), ()], None, 0.5),
    ("spans are counted one by one", "entities", [(A, B), (A,), (A, B)], (A, B), 2 / 3),
    ("a minority's span is dropped", "entities", [(A, B), (A,), (A,)], (A,), 2 / 3),
    ("nobody marked anything", "entities", [(), (), ()], (), 1.0),
    ("other ends in a decided place", "entities", [(A,), (A,), (C,)], (A,), 2 / 3),
    ("a place, but no agreement where it ends", "entities", [(A,), (C,), ()], None, 2 / 3),
    ("half is a tie here too", "entities", [(A,), ()], None, 0.5),
    ("no answer", "question_answering", [(), (), (A,)], (), 2 / 3),
    ("the median", "regression", [3.0, 3.2, 4.9], 3.2, 2 / 3),
    ("between two that are close", "regression", [3.0, 3.4], 3.2, 1.0),
    ("far apart", "regression", [1.0, 5.0], None, 0.0),
    ("all over the scale", "regression", [1.0, 3.0, 5.0], None, 1 / 3),
]


@pytest.mark.parametrize(
    ("kind", "said", "gold", "confidence"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_people_say_comes_to(kind: Any, said: Any, gold: Any, confidence: float) -> None:
    decision = decide(said, kind, ["x", "y"], tolerance=0.4)
    assert decision.target == gold
    assert decision.confidence == pytest.approx(confidence)


def test_votes_tell_people_who_adjudicate_what_was_said() -> None:
    assert decide([(A,), (C,), ()], "entities", ["x"], 0).votes == {
        "0-4 x": 1,
        "0-6 x": 1,
        "no span": 1,
    }
    assert decide([1.0, 5.0], "regression", [], 0.4).votes == {"1": 1, "5": 1}


def dedup_documents(table: pa.Table) -> pa.Table:
    """DEDUP_DOCUMENTS of a table of `test_kinds.corpus`."""
    whole = documents(table["doc_id"].to_pylist())
    for name in ("text", "meta", "changes"):
        number = DEDUP_DOCUMENTS.get_field_index(name)
        whole = whole.set_column(number, DEDUP_DOCUMENTS.field(name), table[name])
    return whole


@pytest.mark.parametrize("kind", TASKS)
def test_every_annotated_item_is_labelled_or_disputed(kind: Any) -> None:
    rows = many(kind, 150)
    annotations = simulated(kind, rows, rate=0.25).annotations
    spec = spec_of(kind)
    gold = gold_of(annotations, dedup_documents(corpus(rows)), spec)
    assert gold.labeled.num_rows + gold.disputed.num_rows == gold.items == 150
    # Of three annotators two agree on each label, be it there or not.
    assert (gold.disputed.num_rows > 0) == (kind != "multi_label")
    assert kind_of(gold.labeled) == kind
    assert set(gold.labeled["method"].to_pylist()) == {
        "median" if kind == "regression" else "majority"
    }
    train = items_of(gold.labeled, TRAIN)
    assert len(train.texts) == len(train.labels) == len(train.item_ids) > 0
    assert (train.questions is not None) == (kind == "question_answering")
    counts = balance(gold.labeled, spec)
    assert set(counts) == {"train", "validation", "test"}
    if kind != "entities":  # some spans stand in one text
        assert sum(sum(part.values()) for part in counts.values()) >= gold.labeled.num_rows
    assert all(json.loads(votes) for votes in gold.disputed["votes"].to_pylist())


def test_questions_of_one_text_are_items_of_their_own() -> None:
    asked = [
        {"question": "What helps?", "question_type": "steps", "spans": [{"quote": "Aspirin"}]},
        {"question": "What hurts?", "question_type": "definition", "spans": []},
    ]
    rows = [{**row, "gold": asked} for row in many("question_answering", 30)]
    annotations = simulated("question_answering", rows, rate=0.0).annotations
    spec = spec_of("question_answering")
    gold = gold_of(annotations, dedup_documents(corpus(rows)), spec).labeled
    assert gold.num_rows == 60
    assert len(set(gold["item_id"].to_pylist())) == 30
    of_one = gold.to_pylist()[:2]
    assert [row["question"] for row in of_one] == ["What helps?", "What hurts?"]
    assert [row["label"] for row in of_one] == ["steps", "definition"]
    assert of_one[0]["split"] == of_one[1]["split"]


def test_types_that_are_rare_or_untested_are_named() -> None:
    rows = many("entities", 60)
    annotations = simulated("entities", rows, rate=0.0).annotations
    spec = spec_of(
        "entities",
        task={"name": "t", "kind": "entities", "labels": {"Drug": "", "Sign": "", "Gene": ""}},
    )
    gold = gold_of(annotations, dedup_documents(corpus(rows)), spec)
    counts = balance(gold.labeled, spec)
    assert counts["train"]["Drug"] == len(items_of(gold.labeled, TRAIN).texts)
    assert rare(counts, spec, fewest=10) == ["Gene"]


def test_three_who_err_give_better_gold_than_one_on_bc5cdr() -> None:
    """At 10 % errors a span is lost by two of three in 3 * 0.1^2 * 0.9 + 0.1^3 = 2.8 %."""
    rows = bc5cdr_rows("train", 400)
    spec = VerticalSpec(**bc5cdr())
    table = corpus(rows, "bc5cdr")
    how = Simulate(gold="entities", annotators=3, error_rate=0.1)
    annotations = simulate_annotations(table, how, spec).annotations
    gold = gold_of(annotations, dedup_documents(table), spec)
    assert gold.labeled.num_rows + gold.disputed.num_rows == 400
    right = {
        item: {(s["start"], s["end"], s["label"]) for s in json.loads(meta)["entities"]}
        for item, meta in zip(table["doc_id"].to_pylist(), table["meta"].to_pylist(), strict=True)
    }
    found = targets_of(gold.labeled, "entities")
    kept = wanted = 0
    for item, spans in zip(gold.labeled["item_id"].to_pylist(), found, strict=True):
        said = {(s.start, s.end, s.label) for s in spans}
        kept += len(said & right[item])
        wanted += len(right[item])
    assert kept / wanted > 0.98
    assert len(items_of(gold.labeled, TEST).labels) > 40
