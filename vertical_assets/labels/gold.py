"""Gold labels: what the annotators' judgements come to; where they are split, the item waits."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.aggregation import aggregate
from vertical_assets.labels.splits import groups_of, split_of
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, LABELED


@dataclass(frozen=True)
class Gold:
    """Items with a gold label, and items on which the annotators are split."""

    labeled: pa.Table
    disputed: pa.Table


def majority(annotations: pa.Table, documents: pa.Table, spec: VerticalSpec) -> Gold:
    """One target per item, by `task.aggregation`; what annotators are split on is disputed.

    In question answering an item is a document and a question.

    Args:
        annotations: ANNOTATIONS of one task.
        documents: DEDUP_DOCUMENTS that the items belong to.
        spec: sections `task`, `split`, `seed`.

    Returns:
        Gold: LABELED and ADJUDICATION; together they hold every annotated item once.
    """
    found = aggregate(annotations, spec)
    place = pc.index_in(found["item_id"], documents["doc_id"])
    groups = groups_of(documents, spec)
    splits = {group: split_of(group, spec) for group in set(groups)}
    columns = {
        **{name: found[name] for name in found.column_names},
        "text": documents["text"].take(place),
        "task": pa.repeat(spec.task.name, found.num_rows),
        "split": pa.array([splits[group] for group in groups], pa.string()).take(place),
        "cluster_id": pa.array(groups, pa.string()).take(place),
    }
    disputed = pc.is_null(found[COLUMN[spec.task.kind]])
    labeled = pa.table([columns[name] for name in LABELED.names], LABELED)
    waiting = pa.table([columns[name] for name in ADJUDICATION.names], ADJUDICATION)
    return Gold(labeled.filter(pc.invert(disputed)), waiting.filter(disputed))


def items_in(annotations: pa.Table) -> int:
    """Annotated items; of questions, each counts."""
    return annotations.group_by(["item_id", "question"]).aggregate([]).num_rows
