"""Verdicts: which batches count, by kind of task, and what a person has to decide."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vertical_assets.labels.adjudication.queue import queue_of
from vertical_assets.labels.adjudication.verdicts import counted_votes, gate_of, judge, report_of
from vertical_assets.labels.aggregation import aggregate
from vertical_assets.labels.agreement import alpha_of
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import AGREEMENT, ANNOTATIONS
from vertical_assets.store.label_contracts import DECISIONS
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(annotation={}))
Said = tuple[str, str, str, Any]  # batch, item, annotator, target
KINDS = {"rules": "rule", "champion": "model"}  # annotators that are no people


def annotations(said: list[Said], spec: VerticalSpec = SPEC) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "t",
                "annotator_id": who,
                "annotator_kind": KINDS.get(who, "human"),
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
    return verdicts_of(judge(annotations(said), decisions(*decided), SPEC))


def verdicts_of(judged: pa.Table) -> dict[str, str]:
    return {row["batch"]: row["verdict"] for row in judged.to_pylist()}


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


def test_who_agrees_with_a_machine_agrees_with_nobody() -> None:
    """Pre-labels that one person confirmed are no cross-check (SPEC D7, D8), and no gold."""
    labels = ("positive", "negative")
    machines = [("b", f"i{n}", who, labels[n % 2]) for n in range(20) for who in KINDS]
    table = annotations(agreed("b", 0, 20, "a") + machines + [("m", "i0", "rules", "negative")])
    judged = judge(table, DECISIONS.empty_table(), SPEC)
    assert verdicts_of(judged) == {"b": "refused", "m": "refused"}
    by_batch = {row["batch"]: row for row in judged.to_pylist()}
    assert (by_batch["b"]["annotators"], by_batch["b"]["compared"]) == (1, 0)
    assert "no usable statement of a person" in by_batch["m"]["reason"]
    both = pa.concat_tables([table, annotations(agreed("c", 0, 20, "b"))])
    judged = judge(both, DECISIONS.empty_table(), SPEC)
    gold = aggregate(counted_votes(both, judged), SPEC)
    assert gold["n_annotators"].to_pylist() == [2] * 20
    assert gold["label"].to_pylist() == [labels[n % 2] for n in range(20)]
    names = {row["name"] for row in report_of(both, judged, SPEC).to_pylist()}
    assert not names & {*KINDS, "a | champion", "b | rules"}


@pytest.mark.parametrize(
    ("kind", "labels", "target"),
    [
        ("classification", {"positive": "", "negative": ""}, "positive"),
        ("multi_label", {"a": ""}, ["a"]),
        ("entities", {"a": ""}, []),
        ("question_answering", {}, []),
        ("regression", {}, 1.0),
    ],
)
def test_pre_labels_alone_are_judged_to_be_nothing(
    kind: str, labels: dict[str, str], target: Any
) -> None:
    task = {"name": "t", "kind": kind, "labels": labels}
    spec = VerticalSpec(**tiny(annotation={}, task=task))
    said = annotations([("b", f"i{n}", who, target) for n in range(2) for who in KINDS], spec)
    none = DECISIONS.empty_table()
    judged = judge(said, none, spec)
    assert verdicts_of(judged) == {"b": "refused"}
    gate = gate_of(report_of(said, judged, spec), judged, spec)
    assert (gate.passed, gate.value) == (False, None)
    assert queue_of(said, judged, none, {"i0": "text", "i1": "text"}, spec).num_rows == 0


def test_a_batch_of_which_all_was_said_anew_says_so() -> None:
    said = annotations(agreed("old", 0, 4) + agreed("renewed", 0, 4))
    by_batch = {r["batch"]: r for r in judge(said, DECISIONS.empty_table(), SPEC).to_pylist()}
    assert (by_batch["old"]["verdict"], by_batch["old"]["replaced"]) == ("refused", 8)
    assert "all replaced by later ones" in by_batch["old"]["reason"]
    assert by_batch["renewed"]["verdict"] == "accepted"


def test_a_refused_batch_takes_nothing_from_those_before_it() -> None:
    """The same people drop garbage on items that they had labelled well."""
    good = agreed("a", 0, 20) + agreed("b", 20, 20)
    said = annotations(good + split("garbage", 0, 20))
    judged = judge(said, DECISIONS.empty_table(), SPEC)
    assert verdicts_of(judged) == {"a": "accepted", "b": "accepted", "garbage": "refused"}
    assert [row["replaced"] for row in judged.to_pylist()] == [0, 0, 0]
    gold = aggregate(counted_votes(said, judged), SPEC)
    assert set(gold["item_id"].to_pylist()) == {f"i{number}" for number in range(40)}


def test_a_batch_is_judged_by_the_statements_that_gold_is_made_of() -> None:
    """One person says anew what he had wrong: both batches count, by what is left of the first."""
    first = agreed("first", 0, 12) + split("first", 12, 8)
    corrected = [("second", f"i{number}", "a", "negative") for number in range(12, 20)]
    corrected += [("second", "i0", "a", "positive")]
    said = annotations(first + corrected)
    assert verdicts(first) == {"first": "refused"}
    judged = judge(said, DECISIONS.empty_table(), SPEC)
    assert verdicts_of(judged) == {"first": "accepted", "second": "accepted"}
    votes = counted_votes(said, judged)
    assert alpha_of(votes, SPEC)[0] == 1.0
    # Where the correction is worth nothing itself, the first one stays what it was.
    useless = [("second", f"i{number}", "a", "positive") for number in range(12, 20)]
    assert verdicts(first + useless) == {"first": "refused", "second": "refused"}


def test_a_batch_whose_disputed_items_are_decided_opens_the_gate_below_the_bar() -> None:
    said = annotations(agreed("bad", 0, 4) + split("bad", 4, 2))
    judged = judge(said, decisions("i4", "i5"), SPEC)
    gate = gate_of(report_of(said, judged, SPEC), judged, SPEC)
    assert gate.passed
    assert gate.value is not None
    assert gate.value < 0.85
    assert "people decided every disputed item of 1 batches" in gate.why


def test_a_report_without_an_overall_alpha_opens_no_gate() -> None:
    judged = judge(annotations(agreed("good", 0, 20)), DECISIONS.empty_table(), SPEC)
    gate = gate_of(AGREEMENT.empty_table(), judged, SPEC)
    assert (gate.passed, gate.value, gate.bar) == (False, None, 0.85)


def test_numbers_of_which_no_batch_is_accepted_are_queued() -> None:
    """Without a range the tolerance is a share of the spread, and of nothing there is none."""
    spec = VerticalSpec(**tiny(annotation={}, task={"name": "t", "kind": "regression"}))
    said = annotations(
        [
            ("b", f"i{n}", who, (n * 7 + k * 31) % 50.0)
            for n in range(9)
            for k, who in enumerate("ab")
        ],
        spec,
    )
    none = DECISIONS.empty_table()
    texts = {f"i{n}": "text" for n in range(9)}
    assert queue_of(said, judge(said, none, spec), none, texts, spec).num_rows == 9


def test_the_queue_is_of_the_votes_that_the_labelled_set_is_made_of() -> None:
    """What somebody says anew in a refused batch takes nothing from what was accepted."""
    two_to_one = [("good", "i20", who, "positive") for who in "ab"]
    two_to_one.append(("good", "i20", "c", "negative"))
    refused = [("bad", "i20", "a", "positive"), *split("bad", 30, 6)]
    said = annotations([*agreed("good", 0, 20, "abc"), *two_to_one, *refused])
    none = DECISIONS.empty_table()
    judged = judge(said, none, SPEC)
    assert verdicts_of(judged) == {"good": "accepted", "bad": "refused"}
    gold = aggregate(counted_votes(said, judged), SPEC)
    assert gold.filter(pc.equal(gold["item_id"], "i20"))["label"].to_pylist() == ["positive"]
    texts = dict.fromkeys(said["item_id"].to_pylist(), "text")
    queue = queue_of(said, judged, none, texts, SPEC).to_pylist()
    assert {row["dispute"] for row in queue} == {"refused"}


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
