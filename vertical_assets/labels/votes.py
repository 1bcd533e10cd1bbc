"""Votes: which of an annotator's statements counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def latest(annotations: pa.Table) -> pa.Table:
    """One judgement per annotator and item, or question: of several, in different batches, the one
    of the latest `created_at`; of those without, or of the same time, the last row.
    """
    key = np.zeros(annotations.num_rows, np.int64)
    for name in ("item_id", "question", "annotator_id"):
        column = annotations[name].combine_chunks().dictionary_encode(null_encoding="encode")
        # Codes of what came so far, made dense: their product with the next can't overflow.
        key = np.unique(key, return_inverse=True)[1] * max(len(column.dictionary), 1)
        key += column.indices.to_numpy()
    if len(np.unique(key)) == len(key):
        return annotations
    rows = pa.table(
        {"key": key, "time": annotations["created_at"], "row": np.arange(annotations.num_rows)}
    )
    order = pc.sort_indices(
        rows,
        sort_keys=[(name, "ascending", "at_start") for name in rows.column_names],
    ).to_numpy()
    last = np.append(key[order][1:] != key[order][:-1], True)
    return annotations.take(np.sort(order[last]))
