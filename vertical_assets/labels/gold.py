"""Gold labels: the annotators' majority; ties wait for adjudication."""

import json
from dataclasses import dataclass

import pyarrow as pa

from vertical_assets.labels.agreement import count_matrix
from vertical_assets.labels.splits import groups_of, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, LABELED


@dataclass(frozen=True)
class Gold:
    """Items with a gold label, and items on which the annotators are split evenly."""

    labeled: pa.Table
    disputed: pa.Table


def majority(annotations: pa.Table, documents: pa.Table, spec: VerticalSpec) -> Gold:
    """One label per item: what most annotators said; a tie for the first place is disputed.

    Args:
        annotations: ANNOTATIONS of one task.
        documents: DEDUP_DOCUMENTS that the items belong to.
        spec: sections `task`, `split`, `seed`.

    Returns:
        Gold: LABELED and ADJUDICATION; together they hold every annotated item once.
    """
    labels = spec.labels
    counts = count_matrix(annotations, labels)
    items = annotations["item_id"].combine_chunks().dictionary_encode().dictionary.to_pylist()
    texts = dict(zip(documents["doc_id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    groups = dict(zip(documents["doc_id"].to_pylist(), groups_of(documents, spec), strict=True))
    best = counts.max(axis=1)
    disputed = (counts == best[:, None]).sum(axis=1) > 1
    first, votes = counts.argmax(axis=1), counts.sum(axis=1)
    labeled_rows, disputed_rows = [], []
    for row, item in enumerate(items):
        if disputed[row]:
            said = {labels[code]: int(n) for code, n in enumerate(counts[row]) if n}
            disputed_rows.append(
                {
                    "item_id": item,
                    "text": texts[item],
                    "task": spec.task.name,
                    "votes": json.dumps(said, ensure_ascii=False),
                }
            )
            continue
        labeled_rows.append(
            {
                "item_id": item,
                "text": texts[item],
                "task": spec.task.name,
                "label": labels[first[row]],
                "confidence": float(best[row] / votes[row]),
                "n_annotators": int(votes[row]),
                "method": "majority",
                "split": split_of(groups[item], spec),
                "cluster_id": groups[item],
            }
        )
    return Gold(
        pa.Table.from_pylist(labeled_rows, LABELED),
        pa.Table.from_pylist(disputed_rows, ADJUDICATION),
    )
