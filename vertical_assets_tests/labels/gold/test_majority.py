"""Gold labels and splits: majority wins, ties wait, and what belongs together stays together."""

import csv
import json
from collections import Counter

import pyarrow as pa
import pytest

from vertical_assets.labels.aggregation import majority
from vertical_assets.labels.gold.labeled import Gold, label_items
from vertical_assets.labels.splits import (
    TEST,
    TRAIN,
    Items,
    find_leakage,
    held_out,
    items_of,
    split_of,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED
from vertical_assets.store.label_contracts import DECISIONS
from vertical_assets_tests.conftest import shared_data, tiny
from vertical_assets_tests.corpus.validity.test_rules import ROW
from vertical_assets_tests.labels.agreement.test_report import said

SPEC = VerticalSpec(**tiny(task={"name": "t", "labels": {"0": "no", "1": "yes"}}))


def documents(items: list[str]) -> pa.Table:
    rows = [
        {**ROW, "doc_id": i, "cluster_id": i, "text": f"text {i}", "words": [], "changes": "[]"}
        for i in items
    ]
    wanted = [{k: row[k] for k in DEDUP_DOCUMENTS.names} for row in rows]
    return pa.Table.from_pylist(wanted, DEDUP_DOCUMENTS)


def gold_of(annotations: pa.Table, corpus: pa.Table, spec: VerticalSpec) -> Gold:
    """Gold labels by majority, without anybody's decisions."""
    gold = label_items(majority(annotations, spec), DECISIONS.empty_table(), corpus, spec)
    assert gold.conserved
    return gold


def labeled(rows: list[tuple[str, str, str]]) -> pa.Table:
    """LABELED from (text, cluster, split)."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": str(n),
                "text": text,
                "task": "t",
                "label": "0",
                "confidence": 1.0,
                "n_annotators": 2,
                "method": "majority",
                "split": split,
                "cluster_id": cluster,
            }
            for n, (text, cluster, split) in enumerate(rows)
        ],
        LABELED,
    )


def test_majority_on_a_published_crowd_set() -> None:
    """696 of 1,000 right, as the set's source says."""
    folder = shared_data("get_another_label")
    with (folder / "BarzanMozafari.labels.csv").open() as file:
        rows = [(r["item"], r["annotator"], r["label"]) for r in csv.DictReader(file)]
    with (folder / "BarzanMozafari.gold.csv").open() as file:
        gold = {r["item"]: r["label"] for r in csv.DictReader(file)}
    found = gold_of(said(rows), documents(sorted({item for item, _, _ in rows})), SPEC)
    right = sum(gold[r["item_id"]] == r["label"] for r in found.labeled.to_pylist())
    assert (found.labeled.num_rows, found.disputed.num_rows) == (1000, 0)
    assert right == 696


def test_ties_wait_for_adjudication_and_nothing_is_lost() -> None:
    rows = [("a", "x", "0"), ("a", "y", "1"), ("b", "x", "1"), ("b", "y", "1"), ("c", "x", "0")]
    found = gold_of(said(rows), documents(["a", "b", "c"]), SPEC)
    assert found.disputed["item_id"].to_pylist() == ["a"]
    assert json.loads(found.disputed["votes"][0].as_py()) == {"0": 1, "1": 1}
    by_item = {row["item_id"]: row for row in found.labeled.to_pylist()}
    assert (by_item["b"]["label"], by_item["b"]["confidence"]) == ("1", 1.0)
    assert by_item["c"]["n_annotators"] == 1


def test_splits_have_their_shares_and_never_change() -> None:
    groups = [f"group {n}" for n in range(20_000)]
    shares = Counter(split_of(group, SPEC) for group in groups)
    assert shares[TEST] / len(groups) == pytest.approx(0.2, abs=0.01)
    assert shares[TRAIN] / len(groups) == pytest.approx(0.7, abs=0.01)
    assert [split_of(g, SPEC) for g in groups[:9]] == [split_of(g, SPEC) for g in groups[:9]]


def test_a_group_of_meta_decides_the_split() -> None:
    spec = SPEC.model_copy(update={"split": SPEC.split.model_copy(update={"group": "category"})})
    items = [f"item {n}" for n in range(60)]
    table = documents(items).set_column(
        DEDUP_DOCUMENTS.get_field_index("meta"),
        DEDUP_DOCUMENTS.field("meta"),
        pa.array([json.dumps({"category": f"A{n // 20}"}) for n in range(60)]),
    )
    rows = [(item, who, "1") for item in items for who in ("x", "y")]
    found = gold_of(said(rows), table, spec).labeled.to_pylist()
    splits = {row["cluster_id"]: row["split"] for row in found}
    assert set(splits) == {"A0", "A1", "A2"}
    assert all(splits[row["cluster_id"]] == row["split"] for row in found)


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (("完全不同的一句话，没有关系。", "c2", "test"), (0, 0, 0)),
        (("这本书的内容很好，印刷也很清楚，推荐购买。", "c1", "test"), (1, 0, 0)),
        ((" 这本书的内容很好，印刷也很清楚，推荐大家购买。 ", "c2", "test"), (0, 1, 1)),
        (("这本书的内容很好，印刷也很清楚，推荐大家购买!", "c2", "test"), (0, 0, 1)),
        (("这本书的内容很好，印刷也很清楚，推荐大家购买!", "c2", "train"), (0, 0, 0)),
    ],
)
def test_leakage_is_found(second: tuple[str, str, str], found: tuple[int, int, int]) -> None:
    first = ("这本书的内容很好，印刷也很清楚，推荐大家购买。", "c1", "train")
    leakage = find_leakage(labeled([first, second]), SPEC)
    assert (leakage.same_group, leakage.exact, leakage.near) == found


def test_held_out_is_everything_but_training() -> None:
    table = labeled([("a", "1", "train"), ("b", "2", "validation"), ("c", "3", "test")])
    assert held_out(table)["text"].to_pylist() == ["b", "c"]
    assert items_of(table, TEST) == Items(["c"], ["0"], ["3"], item_ids=["2"])
