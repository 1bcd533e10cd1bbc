"""Verdicts: which batches count, by kind of task, and what a person has to decide."""

from typing import Any

import pyarrow as pa
import pytest

from vertical_assets.labels.adjudication.queue import queue_of
from vertical_assets.labels.adjudication.verdicts import gate_of, judge, report_of
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATIONS
from vertical_assets.store.label_contracts import DECISIONS
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(annotation={}))
Said = tuple[str, str, str, Any]  # batch, item, annotator, target


def annotations(said: list[Said], spec: VerticalSpec = SPEC) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "t",
                "annotator_id": who,
                "annotator_kind": "human",
                COLUMN[spec.task.kind]: target,
                "batch": batch,
            }
            for batch, item, who, target in said
        ],
        ANNOTATIONS,
    )


def decisions(*items: str) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "t",
                "label": "positive",
                "decided_by": "Ann",
                "decided_at": "2024-05-02T06:00:00+00:00",
                "reason": "r",
                "stands": True,
                "origin": "f",
            }
            for item in items
        ],
        DECISIONS,
    )


def agreed(batch: str, first: int, count: int, people: str = "ab") -> list[Said]:
    """Items on which all agree, half of each label."""
    labels = ("positive", "negative")
    return [
        (batch, f"i{number}", who, labels[number % 2])
        for number in range(first, first + count)
        for who in people
    ]


def split(batch: str, first: int, count: int) -> list[Said]:
    """Items on which two people disagree."""
    return [
        (batch, f"i{number}", who, label)
        for number in range(first, first + count)
        for who, label in (("a", "positive"), ("b", "negative"))
    ]


def verdicts(said: list[Said], *decided: str) -> dict[str, str]:
    rows = judge(annotations(said), decisions(*decided), SPEC).to_pylist()
    return {row["batch"]: row["verdict"] for row in rows}


def test_a_batch_is_judged_by_itself() -> None:
    said = agreed("good", 0, 20) + agreed("bad", 20, 4) + split("bad", 24, 6)
    assert verdicts(said) == {"bad": "refused", "good": "accepted"}


def test_a_batch_below_the_bar_counts_once_every_disputed_item_is_decided() -> None:
    said = agreed("bad", 0, 4) + split("bad", 4, 2)
    assert verdicts(said, "i4") == {"bad": "refused"}
    assert verdicts(said, "i4", "i5") == {"bad": "adjudicated"}


def test_what_one_person_said_of_a_bad_batch_is_disputed_too() -> None:
    said = agreed("bad", 0, 4) + split("bad", 4, 2) + agreed("bad", 6, 1, "a")
    assert verdicts(said, "i4", "i5") == {"bad": "refused"}
    assert verdicts(said, "i4", "i5", "i6") == {"bad": "adjudicated"}


def test_numbers_that_are_near_but_no_nearer_than_others_are_not_settled_by_themselves() -> None:
    """All within a tenth of the range, and alpha is far below the bar: all of them are disputed."""
    task = {"name": "t", "kind": "regression", "range": [0, 100]}
    spec = VerticalSpec(**tiny(annotation={}, task=task))
    said = [
        ("b", f"i{n}", who, 50.0 + (n * 7 + k * 5) % 9)
        for n in range(9)
        for k, who in enumerate("ab")
    ]
    (row,) = judge(annotations(said, spec), DECISIONS.empty_table(), spec).to_pylist()
    assert row["alpha"] < 0.85
    assert (row["verdict"], row["disputed"]) == ("refused", 9)


@pytest.mark.parametrize(
    ("said", "passed", "says"),
    [
        (agreed("good", 0, 20), True, "reaches the bar of 0.85 (1 accepted)"),
        (split("bad", 0, 20), False, "below the bar of 0.85: nothing is trained on these labels"),
        (agreed("good", 0, 20) + split("bad", 20, 9), True, "(1 accepted, 1 refused)"),
        (agreed("one", 0, 20, "a"), False, "alpha can't be told"),
    ],
)
def test_the_gate_says_why(said: list[Said], passed: bool, says: str) -> None:
    judged = judge(annotations(said), DECISIONS.empty_table(), SPEC)
    gate = gate_of(report_of(annotations(said), judged, SPEC), judged, SPEC)
    assert gate.passed is passed
    assert gate.blocking
    assert says in gate.why


def test_the_queue_holds_what_is_refused_and_what_is_split_and_not_decided() -> None:
    said = agreed("good", 0, 30) + split("good", 30, 1) + agreed("bad", 40, 2) + split("bad", 42, 3)
    table = annotations(said)
    made = decisions("i43")
    judged = judge(table, made, SPEC)
    texts = {item: f"text of {item}" for item in table["item_id"].to_pylist()}
    queue = queue_of(table, judged, made, texts, SPEC).to_pylist()
    assert {(row["item_id"], row["dispute"], row["batches"]) for row in queue} == {
        ("i30", "split", "good"),
        ("i42", "refused", "bad"),
        ("i44", "refused", "bad"),
    }
    assert (
        queue[0]["votes"] == '{"positive": 1, "negative": 1}' or '"negative"' in queue[0]["votes"]
    )
    del texts["i42"]  # it left the corpus
    assert len(queue_of(table, judged, made, texts, SPEC)) == 2
