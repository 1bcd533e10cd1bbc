"""Real reviews as the tables that the tasks are chosen from."""

from typing import Any

import pyarrow as pa

from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED, RELABEL_QUEUE
from vertical_assets.store.task_contracts import PRELABELS
from vertical_assets_tests.conftest import reviews, tiny


def spec_of(kind: str = "classification", **changes: Any) -> VerticalSpec:
    """A vertical of people's labels; `tasks` stands for `annotation.tasks`."""
    labels = {"negative": "dissatisfied", "positive": "content"}
    task: dict[str, Any] = {"name": "sentiment", "kind": kind}
    if kind in ("classification", "multi_label", "entities"):
        task["labels"] = labels
    annotation = {"path": "annotations/*", **changes.pop("annotation", {})}
    if "tasks" in changes:
        annotation["tasks"] = changes.pop("tasks")
    return VerticalSpec(**tiny(task=task, annotation=annotation, **changes))


def documents(count: int) -> pa.Table:
    """DEDUP_DOCUMENTS: reviews d000, d001, ..., negative and positive in turn."""
    texts = [row["text"] for row in reviews(count)]
    mixed = [
        text for pair in zip(texts[: count // 2], texts[count // 2 :], strict=True) for text in pair
    ]
    return pa.Table.from_pylist(
        [
            dict.fromkeys((f.name for f in DEDUP_DOCUMENTS if not f.nullable), "")
            | {
                "doc_id": f"d{number:03}",
                "source": "first",
                "text": text,
                "words": [],
                "meta": "{}",
                "changes": "[]",
                "cluster_id": f"d{number:03}",
            }
            for number, text in enumerate(mixed)
        ],
        DEDUP_DOCUMENTS,
    )


def labeled(found: pa.Table, people: dict[int, int]) -> pa.Table:
    """LABELED of some documents: row -> how many annotators; 0: a person decided."""
    rows = [
        {
            "item_id": found["doc_id"][row].as_py(),
            "text": found["text"][row].as_py(),
            "task": "sentiment",
            "label": "negative",
            "confidence": 1.0,
            "n_annotators": count,
            "method": "majority" if count else "adjudicated",
            "split": "train",
            "cluster_id": found["doc_id"][row].as_py(),
        }
        for row, count in people.items()
    ]
    return pa.Table.from_pylist(rows, LABELED)


def prelabels(shares: dict[str, float]) -> pa.Table:
    """PRELABELS of a classification into two: item_id -> probability of `positive`."""
    rows = [
        {
            "item_id": item,
            "label": "positive" if share >= 0.5 else "negative",
            "confidence": max(share, 1 - share),
            "margin": abs(2 * share - 1),
            "entropy": 0.0,
            "champion": "c0ffee",
        }
        for item, share in shares.items()
    ]
    return pa.Table.from_pylist(rows, PRELABELS)


def queue(found: pa.Table, *rows: int) -> pa.Table:
    """RELABEL_QUEUE of these documents, in this order."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": found["doc_id"][row].as_py(),
                "split": "test",
                "reasons": ["label_error"],
                "score": 1.0 - place / 10,
                "label": "negative",
                "predicted": "positive",
                "confidence": 0.9,
                "text": found["text"][row].as_py(),
            }
            for place, row in enumerate(rows)
        ],
        RELABEL_QUEUE,
    )
