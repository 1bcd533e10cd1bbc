"""What to label next: by strategy, nothing twice, key items to experts."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.labels.tasks.diversity import furthest_first, text_vectors
from vertical_assets.labels.tasks.pool import draw_pool
from vertical_assets.labels.tasks.selection import uncertainties
from vertical_assets.labels.tasks.tasks import Known, Plan, plan_tasks
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION
from vertical_assets_tests.labels.tasks.items import documents, labeled, prelabels, queue, spec_of

NOWHERE = UPath("nowhere")
FOUR = {"random": 0.25, "uncertainty": 0.25, "diversity": 0.25, "relabel": 0.25}


def only(strategy: str, count: int = 8, **more: Any) -> VerticalSpec:
    return spec_of(tasks={"count": count, "strategies": {strategy: 1}, **more})


def plan(spec: VerticalSpec, found: pa.Table, **known: pa.Table) -> Plan:
    return plan_tasks(found.to_batches(), Known.of(**known), spec, NOWHERE)


def chosen(plan: Plan, strategy: str) -> list[str]:
    return [row["item_id"] for row in plan.tasks.to_pylist() if row["strategy"] == strategy]


def test_every_strategy_has_its_share_and_no_item_comes_twice() -> None:
    found = documents(100)
    said = prelabels({f"d{n:03}": n / 100 for n in range(20, 100)})
    known = {"labeled": labeled(found, dict.fromkeys(range(20), 3)), "prelabels": said}
    known["queue"] = queue(found, 3, 5, 7, 9, 11, 13)
    made = plan(spec_of(tasks={"count": 20, "strategies": FOUR}), found, **known)
    assert {s: len(chosen(made, s)) for s in FOUR} == dict.fromkeys(FOUR, 5)
    items = made.tasks["item_id"].to_pylist()
    assert len(set(items)) == len(items) == 20
    assert chosen(made, "relabel") == ["d003", "d005", "d007", "d009", "d011"]
    assert not {f"d{n:03}" for n in range(20)} & set(items) - set(chosen(made, "relabel"))
    again = plan(
        spec_of(tasks={"count": 20, "strategies": FOUR}),
        found.take(list(range(99, -1, -1))),
        **known,
    )
    assert again.tasks == made.tasks  # whatever order the documents come in


def test_items_with_labels_enough_and_disputed_ones_are_left_alone() -> None:
    found = documents(12)
    known = labeled(found, {0: 2, 1: 3, 2: 1, 4: 0})  # two are enough
    needed = dict.fromkeys((f.name for f in ADJUDICATION if not f.nullable), "")
    row = needed | {"item_id": "d003", "confidence": 0.5}
    disputed = pa.Table.from_pylist([row], ADJUDICATION)
    made = plan(only("random", 12), found, labeled=known, disputed=disputed)
    assert set(made.tasks["item_id"].to_pylist()) == {f"d{n:03}" for n in (2, *range(5, 12))}
    assert made.facts["with_enough_labels"] == 3
    assert made.facts["disputed"] == 1


def test_the_least_sure_come_first() -> None:
    found = documents(10)
    shares = {"d000": 0.95, "d001": 0.55, "d002": 0.2, "d003": 0.48}
    made = plan(only("uncertainty", 3), found, prelabels=prelabels(shares))
    assert chosen(made, "uncertainty") == ["d003", "d001", "d002"]
    assert made.tasks["score"][0].as_py() == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("measure", "expected"),
    # Settles 2009, section 3.1, of (0.7, 0.2, 0.1): ln 3 is the greatest entropy of three classes.
    [("least_confidence", 0.3), ("margin", 0.5), ("entropy", 0.8018 / np.log(3))],
)
def test_uncertainty_as_published(measure: Any, expected: float) -> None:
    pool = draw_pool(documents(2).to_batches(), (), 1, 1)
    row = {"confidence": 0.7, "margin": 0.5, "entropy": 0.8018}
    (value,) = uncertainties(pool, {pool[0].item_id: row}, measure, 3).values()
    assert value == pytest.approx(expected)


def test_places_that_cannot_be_filled_are_drawn_at_random() -> None:
    found = documents(40)
    made = plan(spec_of(tasks={"count": 20, "strategies": FOUR}), found)  # no labels, no model
    assert {s: len(chosen(made, s)) for s in FOUR} == {
        "random": 15,
        "uncertainty": 0,
        "diversity": 5,
        "relabel": 0,
    }
    few = plan(spec_of(tasks={"count": 200, "strategies": FOUR}), found)
    assert few.tasks.num_rows == 40


def test_diverse_documents_are_unlike_what_is_labelled() -> None:
    spec = spec_of(tasks={"count": 2, "strategies": {"diversity": 1}})
    found = documents(4)
    odd = "股票 基金 债券 期货 汇率"
    texts = [odd if row == 2 else text for row, text in enumerate(found["text"].to_pylist())]
    found = found.set_column(found.schema.get_field_index("text"), "text", pa.array(texts))
    known = labeled(found, {0: 3, 1: 3})
    made = plan(spec, found, labeled=known)
    assert chosen(made, "diversity")[0] == "d002"
    assert made.tasks["score"][0].as_py() > made.tasks["score"][1].as_py()


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(0, 3), st.integers(0, 1000))
def test_k_center_greedy_covers_within_twice_the_best_radius(
    rows: int, centres: int, seed: int
) -> None:
    """Every chosen row is the furthest one left (Gonzalez 1985), so distances never grow."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rows + centres, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    own, others = points[:rows], points[rows:]
    picked = furthest_first(own, others, rows)
    assert sorted(row for row, _ in picked) == list(range(rows))
    distances = [distance for _, distance in picked]
    assert all(a >= b - 1e-5 for a, b in pairwise(distances))
    held = others
    for row, distance in picked:
        if len(held):
            assert distance == pytest.approx(max(0, 1 - (held @ own[row]).max()), abs=1e-5)
        held = np.vstack([held, own[row]])


def test_texts_without_a_term_come_last() -> None:
    vectors = text_vectors(["好 好吃", "", "不好"], spec_of(language="en"))
    assert [row for row, _ in furthest_first(vectors, vectors[:0], 3)][-1] == 1
    assert not text_vectors(["", "…"], spec_of(language="en")).any()


@settings(max_examples=20)
@given(st.integers(0, 30), st.integers(1, 10), st.integers(0, 5))
def test_a_pool_is_the_head_of_a_random_order(size: int, wanted: int, seed: int) -> None:
    ids = pa.array([f"i{n}" for n in range(size)], pa.string())
    batch = pa.RecordBatch.from_arrays([ids, ids], ["doc_id", "text"])
    whole = draw_pool([batch], (), size or 1, seed)
    assert (
        draw_pool([batch.slice(size // 2), batch.slice(0, size // 2)], (), wanted, seed)
        == (whole[:wanted])
    )


RULES = [
    {"label": "positive", "pattern": "很好|不错"},
    {"label": "positive", "pattern": "喜欢"},
    {"label": "negative", "dictionary": {"path": "bad.txt"}},
    {"pattern": "退货", "expert": True},
]


@pytest.fixture
def data(tmp_path: Path) -> UPath:
    (tmp_path / "bad.txt").write_text("# complaints\n太差\n难吃\n", "utf-8")
    return UPath(tmp_path)


def with_texts(*texts: str) -> pa.Table:
    found = documents(2 * len(texts)).slice(0, len(texts))
    return found.set_column(found.schema.get_field_index("text"), "text", pa.array(texts))


def rows_by_text(spec: VerticalSpec, found: pa.Table, data: UPath) -> dict[str, dict[str, Any]]:
    made = plan_tasks(found.to_batches(), Known.of(), spec, data)
    return {
        row["text"]: {**row, "predictions": json.loads(row["predictions"])}
        for row in made.tasks.to_pylist()
    }


def test_rules_pre_label_and_say_how_many_of_them_agree(data: UPath) -> None:
    texts = ("很好，喜欢，难吃", "难吃", "不错但太差", "一般", "我要退货")
    rows = rows_by_text(only("random", rules=RULES), with_texts(*texts), data)
    assert rows[texts[0]]["predictions"] == [
        {"source": "rules", "score": pytest.approx(2 / 3), "target": "positive"}
    ]
    assert rows["难吃"]["predictions"] == [{"source": "rules", "score": 1.0, "target": "negative"}]
    assert rows["不错但太差"]["predictions"] == []
    assert rows["不错但太差"]["route_reason"] == "rules contradict each other"
    assert rows["一般"]["predictions"] == []
    assert rows["一般"]["route"] == "annotator"
    assert rows["我要退货"]["route"] == "expert"
    assert rows["我要退货"]["route_reason"] == "rule 3 (退货) matches"


def test_rules_mark_spans_and_name_labels(data: UPath) -> None:
    rules = RULES[:3]
    tasks = {"count": 9, "strategies": {"random": 1}, "rules": rules}
    (row,) = rows_by_text(
        spec_of("entities", tasks=tasks), with_texts("很好喜欢，难吃"), data
    ).values()
    assert row["predictions"][0]["target"] == [
        {"start": 0, "end": 2, "label": "positive"},
        {"start": 2, "end": 4, "label": "positive"},
        {"start": 5, "end": 7, "label": "negative"},
    ]
    (row,) = rows_by_text(
        spec_of("multi_label", tasks=tasks), with_texts("很好，难吃"), data
    ).values()
    assert row["predictions"][0]["target"] == ["negative", "positive"]  # the standard's order


def test_key_items_go_to_experts_with_the_reason() -> None:
    found = documents(8)
    shares = {"d000": 0.52, "d001": 0.99}
    known = {
        "prelabels": prelabels(shares),
        "labeled": labeled(found, {5: 3}),
        "queue": queue(found, 5),
    }
    spec = spec_of(
        tasks={
            "count": 8,
            "strategies": {"relabel": 0.2, "random": 0.8},
            "experts": {"confidence": 0.6},
        }
    )
    rows = {row["item_id"]: row for row in plan(spec, found, **known).tasks.to_pylist()}
    assert rows["d000"]["route_reason"] == "the model is 0.520 sure, less than 0.6"
    assert rows["d001"]["route"] == "annotator"
    assert json.loads(rows["d001"]["predictions"]) == [
        {"source": "model:c0ffee", "score": 0.99, "target": "positive"}
    ]
    assert rows["d005"]["route"] == "expert"
    assert rows["d005"]["route_reason"] == "relabel queue (label_error)"
    assert json.loads(rows["d005"]["predictions"]) == [
        {"source": "model", "score": 0.9, "target": "positive"}
    ]


@pytest.mark.parametrize(
    ("kind", "tasks", "says"),
    [
        ("classification", {"strategies": {"random": 0.5}}, "the shares sum to 0.5"),
        ("classification", {"strategies": {"gut": 1}}, "uncertainty"),
        ("classification", {"rules": [{"pattern": "(", "label": "positive"}]}, "no regular expr"),
        ("classification", {"rules": [{"pattern": "x*", "label": "positive"}]}, "every text"),
        ("classification", {"rules": [{"label": "positive"}]}, "exactly one of 'pattern'"),
        ("classification", {"rules": [{"pattern": "x"}]}, "or 'expert: true'"),
        (
            "classification",
            {"rules": [{"pattern": "x", "label": "so"}]},
            "rules.0: 'so' is no label",
        ),
        ("entities", {"uncertainty": "margin"}, "use 'least_confidence'"),
        ("regression", {"strategies": {"uncertainty": 1}}, "has no confidence"),
        ("question_answering", {"strategies": {"uncertainty": 1}}, "no questions yet"),
        ("regression", {"rules": [{"pattern": "x", "label": "1"}]}, "remove 'label'"),
    ],
)
def test_what_makes_no_sense_is_told_when_the_vertical_loads(
    kind: str, tasks: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        spec_of(kind, tasks=tasks)


@pytest.mark.parametrize("kind", ["regression", "question_answering"])
def test_kinds_without_uncertainty_are_drawn_otherwise(kind: str) -> None:
    made = plan(spec_of(kind, tasks={"count": 8}), documents(20))
    assert {row["strategy"] for row in made.tasks.to_pylist()} == {"random", "diversity"}
    assert made.tasks.num_rows == 8
