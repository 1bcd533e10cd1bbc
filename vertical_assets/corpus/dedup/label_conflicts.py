"""Label conflicts: the same text, collected with different labels."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from vertical_assets.corpus.dedup.ngrams import code_points, first_with_digest, hash_ngrams

CONFLICTS = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("doc_ids", pa.list_(pa.string()), nullable=False),
    ]
)


def label_conflicts(
    read: Callable[[Sequence[str]], Iterable[pa.RecordBatch]], field: str
) -> pa.Table:
    """Normalised texts that stand in the corpus with at least two values of a label.

    Args:
        read: gives the named columns of DOCUMENTS as batches, e.g. `Table.batches`; called twice.
            Memory holds the texts only that occur more than once.
        field: entry of `meta` that is the label; a document without it takes no part.

    Returns:
        One row per text: `text` (as in the first document), `labels` and `doc_ids`, by document.
    """
    digests = [
        hash_ngrams(code_points(batch["text"]), 1, "character").digests for batch in read(["text"])
    ]
    rows = sum(map(len, digests))
    joined = np.concatenate([np.empty((0, 2), np.uint64), *digests])
    first = first_with_digest(joined, np.arange(rows))
    again = np.bincount(first, minlength=rows)[first] > 1

    found: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    start = 0
    for batch in read(["doc_id", "text", "meta"]):
        part = slice(start, start + batch.num_rows)
        columns = batch.filter(pa.array(again[part])).to_pydict()
        for group, id_, text, meta in zip(
            first[part][again[part]].tolist(), *columns.values(), strict=True
        ):
            label = json.loads(meta).get(field)
            if label is not None:
                found[group].append((id_, text, str(label)))
        start += batch.num_rows
    conflicts = [group for group in found.values() if len({label for *_, label in group}) > 1]
    return pa.Table.from_pylist(
        [
            {
                "text": group[0][1],
                "labels": [label for *_, label in group],
                "doc_ids": [id_ for id_, *_ in group],
            }
            for group in conflicts
        ],
        CONFLICTS,
    )
