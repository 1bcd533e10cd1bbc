"""The labelled set: one gold target per item, from what annotators and deciders say."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vertical_assets.labels.aggregation import AGGREGATED, TARGETS
from vertical_assets.labels.splits import groups_of, split_of
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import LABELED

ADJUDICATED = "adjudicated"


@dataclass(frozen=True)
class Gold:
    """Items with a gold label, and those that have none.

    Attributes:
        labeled: LABELED.
        items: how many there are in all.
        disputed: AGGREGATED, of items that wait for a decision.
        gone: how many are no longer in the corpus.
    """

    labeled: pa.Table
    items: int
    disputed: pa.Table
    gone: int

    @property
    def conserved(self) -> bool:
        """Whether every item is accounted for."""
        return self.items == self.labeled.num_rows + self.disputed.num_rows + self.gone


def label_items(
    aggregated: pa.Table,
    decided: pa.Table,
    documents: pa.Table,
    spec: VerticalSpec,
) -> Gold:
    """LABELED: what annotators come to; where a person decided, that.

    Args:
        aggregated: AGGREGATED, of the batches that count.
        decided: DECISIONS that stand; they count for items of other batches as well.
        documents: DEDUP_DOCUMENTS, at least doc_id, text, meta and cluster_id.
        spec: sections `task`, `split`, `seed`.
    """
    column = COLUMN[spec.task.kind]
    decisions = {(row["item_id"], row["question"]): row for row in decided.to_pylist()}
    said = {(row["item_id"], row["question"]): row for row in aggregated.to_pylist()}
    ids = documents["doc_id"].to_pylist()
    texts = dict(zip(ids, documents["text"].to_pylist(), strict=True))
    groups = dict(zip(ids, groups_of(documents, spec), strict=True))
    rows: list[dict[str, Any]] = []
    disputed: list[dict[str, Any]] = []
    gone = 0
    for key in dict.fromkeys([*said, *decisions]):
        decision, votes = decisions.get(key), said.get(key)
        row = decision or votes
        assert row is not None
        if key[0] not in texts:
            gone += 1
            continue
        if row[column] is None:
            disputed.append(row)
            continue
        group = groups[key[0]]
        rows.append(
            {
                **{name: row[name] for name in ("item_id", "question", "label", *TARGETS)},
                "text": texts[key[0]],
                "task": spec.task.name,
                "confidence": 1.0 if decision else row["confidence"],
                "n_annotators": votes["n_annotators"] if votes else 0,
                "method": ADJUDICATED if decision else row["method"],
                "split": split_of(group, spec),
                "cluster_id": group,
            }
        )
    return Gold(
        pa.Table.from_pylist(rows, LABELED),
        len({*said, *decisions}),
        pa.Table.from_pylist(disputed, AGGREGATED),
        gone,
    )
