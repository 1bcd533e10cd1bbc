"""Suspected label errors: planted ones are found among the training items, and nothing else is."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.gold.label_errors import label_errors
from vertical_assets.labels.splits import TEST, TRAIN, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import LABELED
from vertical_assets_tests.conftest import reviews, tiny

SPEC = VerticalSpec(**tiny())
PLANTED = 0.03


def labeled(count: int, method: str = "majority") -> tuple[pa.Table, set[str]]:
    """Real reviews with their sentiment, 3 % of it turned round; and which ones."""
    rng = np.random.default_rng(7)
    rows, wrong = [], set()
    for row in reviews(count):
        label, other = row["sentiment"], {"positive": "negative", "negative": "positive"}
        if rng.random() < PLANTED:
            label = other[label]
            wrong.add(row["id"])
        rows.append(
            {
                "item_id": row["id"],
                "text": row["text"],
                "task": "sentiment",
                "label": label,
                "confidence": 1.0,
                "n_annotators": 3,
                "method": method,
                "split": split_of(row["id"], SPEC),
                "cluster_id": row["id"],
            }
        )
    return pa.Table.from_pylist(rows, LABELED), wrong


def test_planted_errors_are_suspected_far_more_often_than_others() -> None:
    table, wrong = labeled(3000)
    found = label_errors(table, SPEC)
    train = [row["item_id"] for row in table.to_pylist() if row["split"] == TRAIN]
    suspected = found["item_id"].to_pylist()
    assert set(suspected) <= set(train)
    planted = wrong & set(train)
    share = len(planted & set(suspected)) / len(planted)
    others = len(set(suspected) - planted) / (len(train) - len(planted))
    assert share > 0.5
    assert others < 0.1
    assert share > 10 * others
    assert found["quality"].to_pylist() == sorted(found["quality"].to_pylist())
    assert all(row["label"] != row["proposed"] for row in found.to_pylist())
    assert label_errors(table, SPEC).equals(found)


def test_what_a_person_decided_is_never_doubted() -> None:
    table, _ = labeled(600, method="adjudicated")
    assert label_errors(table, SPEC).num_rows == 0


def test_too_little_to_judge_by_is_no_error() -> None:
    table, _ = labeled(40)
    one_class = table.filter(pc.equal(table["label"], "positive"))
    assert label_errors(one_class, SPEC).num_rows == 0
    held = table.set_column(
        LABELED.get_field_index("split"),
        LABELED.field("split"),
        pa.array([TEST] * table.num_rows),
    )
    assert label_errors(held, SPEC).num_rows == 0
