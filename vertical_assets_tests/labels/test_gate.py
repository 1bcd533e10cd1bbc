"""From dropped files to the labelled set: what annotators don't agree on is not learnt from."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from vertical_assets.labels.batches import arrivals
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.labels.room import (
    Room,
    answers,
    decided,
    papers,
    pubmedqa,
    questions,
    verdicts_of,
)

WORD = {
    "label": "yes",
    "decided_by": "Ada",
    "decided_at": "2019-01-01T06:00:00+00:00",  # before the final ones
    "reason": "read twice",
}
BOTH = ("reasoning_required", "reasoning_free")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """The questions of PubMedQA as a corpus, not labelled yet."""
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", "VERTICAL_WORK", "VERTICAL_KEYS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SETTLED_SECONDS", "MALFORMED_SECONDS"):
        monkeypatch.setattr(arrivals, name, 0.0)
    with dg.DagsterInstance.ephemeral() as instance:
        room = Room(VerticalSpec(**papers()), tmp_path, instance)
        room.corpus(questions(pubmedqa()))
        yield room


def test_pubmedqa_waits_for_decisions_and_is_learnt_from_after_them(room: Room) -> None:
    """Its two annotators agree at alpha 0.4555 (figure of the set's README)."""
    items = pubmedqa()
    room.drop("annotations/two_people.jsonl", answers(items))
    room.read("two_people")
    assert room.gate() == {
        "rows_conserved": True,
        "decisions_usable": True,
        "alpha": False,
        "batches_agree": False,
    }
    (verdict,) = room.rows("batch_verdicts")
    assert verdict["alpha"] == pytest.approx(0.4555, abs=0.00005)
    assert (verdict["verdict"], verdict["items"], verdict["annotators"]) == ("refused", 1000, 2)
    split = {
        k for k, v in items.items() if v["reasoning_free_pred"] != v["reasoning_required_pred"]
    }
    queue = [json.loads(line) for line in (room.folder / "adjudication/queue.jsonl").open()]
    assert len(queue) == len(room.rows("adjudication_queue")) == verdict["disputed"] == len(split)
    assert {row["text"] for row in queue} == {items[key]["QUESTION"] for key in split}
    assert all(row["label"] is None and row["decided_by"] == "" for row in queue)

    # A gate that is closed lets nothing through in a run that holds both.
    result = room.run("agreement_report", "labeled_set", fails=True)
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert room.key("adjudication_queue") in made
    assert room.key("labeled_set") not in made

    # The file of the queue, saved as it is, decides nothing; filled in it does.
    room.drop("adjudication/decisions_open.jsonl", queue)
    assert not room.gate()["alpha"]
    assert room.rows("decisions") == []
    # So does what somebody filled in in the queue itself, which is written anew.
    (room.folder / "adjudication/queue.jsonl").write_text(
        "".join(json.dumps(row | WORD) + "\n" for row in queue[:2])
    )
    room.gate()
    room.gate()
    assert {row["reason"] for row in room.rows("decisions")} == {WORD["reason"]}
    room.drop("adjudication/decisions_final.jsonl", decided(items))
    assert room.gate()["alpha"]
    (verdict,) = room.rows("batch_verdicts")
    assert (verdict["verdict"], verdict["decided"]) == ("adjudicated", len(split))
    assert room.rows("adjudication_queue") == []
    checks = verdicts_of(room.run("labeled_set"))
    assert checks["items_conserved"]
    assert checks["no_leakage"]
    gold = {row["text"]: row for row in room.rows("labeled_set")}
    assert len(gold) == 1000
    assert {row["method"] for row in gold.values()} == {"adjudicated"}
    assert all(gold[v["QUESTION"]]["label"] == v["final_decision"] for v in items.values())
    (one, *_) = room.rows("decisions")
    assert (one["decided_by"], one["decided_at"]) == ("Qiao Jin", "2019-09-13T12:00:00+00:00")


def test_a_bad_batch_leaves_the_labelled_set_as_it_was(room: Room) -> None:
    """Five batches in a row; the one whose people disagree is named and left out."""
    items = list(pubmedqa().items())
    parts = [dict(items[start : start + 100]) for start in range(0, 500, 100)]
    for number, part in enumerate(parts[:4]):
        room.drop(f"annotations/good_{number}.jsonl", answers(part, ("ann", "bob")))
    room.read("good_0", "good_1", "good_2", "good_3")
    assert room.gate()["batches_agree"]
    room.run("labeled_set")
    before = room.version("labeled_set")
    assert room.table("labeled_set").num_rows == 400

    room.drop("annotations/bad.jsonl", answers(parts[4], BOTH))
    room.drop("annotations/worse.jsonl", b"{no\n")
    noticed = room.read("bad")
    assert noticed.new == ("bad",)
    checks = room.gate()
    assert checks["alpha"]
    assert not checks["batches_agree"]
    verdicts = {row["batch"]: row["verdict"] for row in room.rows("batch_verdicts")}
    assert verdicts == {**{f"good_{n}": "accepted" for n in range(4)}, "bad": "refused"}
    room.run("labeled_set")
    assert room.version("labeled_set") == before
    scopes = {row["scope"] for row in room.rows("agreement_report")}
    assert {"overall", "batch", "class", "pair"} <= scopes
    (overall,) = [
        row
        for row in room.rows("agreement_report")
        if (row["scope"], row["statistic"]) == ("overall", "alpha")
    ]
    assert (overall["value"], overall["items"]) == (1.0, 400)

    # Decided items count, also of a refused batch; the others of it do not.
    few = dict(list(parts[4].items())[:3])
    room.drop("adjudication/decisions.jsonl", decided(few))
    room.gate()
    room.run("labeled_set")
    rows = room.rows("labeled_set")
    assert len(rows) == 403
    assert sum(row["method"] == "adjudicated" for row in rows) == 3


def test_one_annotator_is_not_enough_until_a_second_checks_a_tenth(room: Room) -> None:
    """SPEC D8: 10 % of the items are cross-checked; both batches are judged by these."""
    items = list(pubmedqa().items())[:200]
    room.drop("annotations/may.jsonl", answers(dict(items), ("ann",)))
    room.read("may")
    assert not room.gate()["alpha"]
    (verdict,) = room.rows("batch_verdicts")
    assert (verdict["verdict"], verdict["alpha"], verdict["compared"]) == ("refused", None, 0)
    assert "let a second person label more of them" in verdict["reason"]
    assert room.rows("adjudication_queue") == []  # it waits for a second annotator

    room.drop("annotations/may_check.jsonl", answers(dict(items[:19]), ("bob",)))
    room.read("may_check")
    by_batch = {row["batch"]: row for row in room.rows_after_gate()}
    assert by_batch["may"]["verdict"] == "refused"
    assert by_batch["may_check"]["verdict"] == "accepted"

    room.drop("annotations/may_check.jsonl", answers(dict(items[:20]), ("bob",)))
    room.read("may_check")
    by_batch = {row["batch"]: row for row in room.rows_after_gate()}
    assert {row["verdict"] for row in by_batch.values()} == {"accepted"}
    assert by_batch["may"]["compared"] == 20
    room.run("labeled_set")
    assert room.table("labeled_set").num_rows == 200


def test_a_later_statement_takes_the_place_of_an_earlier_one(room: Room) -> None:
    items = dict(list(pubmedqa().items())[:40])
    wrong = [{**row, "label": "maybe"} for row in answers(items, ("ann",))]
    room.drop("annotations/a.jsonl", wrong + answers(items, ("bob",)))
    room.drop("annotations/b.jsonl", answers(items, ("ann",)))
    room.read("a", "b")
    by_batch = {row["batch"]: row for row in room.rows_after_gate()}
    assert by_batch["a"]["replaced"] == 40
    assert {row["verdict"] for row in by_batch.values()} == {"accepted"}
    room.run("labeled_set")
    right = {item["QUESTION"]: item["final_decision"] for item in items.values()}
    assert {row["text"]: row["label"] for row in room.rows("labeled_set")} == right


def test_a_removed_file_no_longer_counts(room: Room) -> None:
    items = list(pubmedqa().items())
    room.drop("annotations/a.jsonl", answers(dict(items[:40]), ("ann", "bob")))
    file = room.drop("annotations/b.jsonl", answers(dict(items[40:60]), ("ann", "bob")))
    room.read("a", "b")
    room.gate()
    room.run("labeled_set")
    assert room.table("labeled_set").num_rows == 60
    assert room.stale() == set()
    file.unlink()
    assert room.read().gone == ("b",)
    assert room.stale() == {
        "agreement_report",
        "batch_verdicts",
        "adjudication_queue",
        "labeled_set",
    }
    room.gate()
    room.run("labeled_set")
    assert room.table("labeled_set").num_rows == 40
    assert room.stale() == set()


def test_without_any_batch_the_gate_says_where_files_go(room: Room) -> None:
    room.read()
    room.run("decisions")
    with pytest.raises(dg.Failure, match=r"no batch of labels yet; drop files .*annotations/"):
        room.run("agreement_report")
