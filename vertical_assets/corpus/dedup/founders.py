"""Founders: a cluster of duplicates keeps its id for ever, whichever document stands for it.

What is held out is decided by a hash of the cluster's id (see `labels.splits`). Were that the id of
the kept document, a cluster would change its split as soon as a later, longer text took that
document's place, and a test item would turn up in training. So the id is that of the document which
stood for the cluster first, its founder, and is handed on:

| a document that is kept | its cluster's id |
|---|---|
| was kept before | as before |
| takes the place of documents that were kept before | the least of their clusters' ids |
| is new, with whatever new ones it stands for | its own |

This needs memory, which is the table's own previous version. Only the id of a document that is to
be forgotten is not handed on: its cluster gets a new one, and maybe another split.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.corpus.dedup.dedup import Duplicates


def clusters_of(
    found: Duplicates, before: pa.Table | None, forgotten: pa.Array | None = None
) -> pa.Array:
    """cluster_id of every row: of a dropped one, that of the document that is kept for it.

    Args:
        found: what duplicates what.
        before: `doc_id` and `cluster_id` of the previous DEDUP_DOCUMENTS; None for the first time.
        forgotten: ids that no row may carry any more.
    """
    ids, stays = found.doc_ids, found.stays
    heads = ids
    if before is not None and before.num_rows:
        dropped = np.flatnonzero(~stays)
        concerned = ids.take(pa.array(np.union1d(dropped, found.kept[dropped])))
        moved = pc.not_equal(before["doc_id"], before["cluster_id"])
        before = before.filter(pc.or_(moved, pc.is_in(before["doc_id"], concerned)))
        places = pc.index_in(ids, before["doc_id"].combine_chunks())
        known = before["cluster_id"].combine_chunks().take(places)  # null: not kept before
        heirs = _heirs(found, dropped, known)
        heads = pc.coalesce(known, heirs, ids)
    if forgotten is not None and len(forgotten):
        heads = pc.if_else(pc.is_in(heads, forgotten), ids, heads)
    return heads.take(pa.array(found.kept))


def _heirs(found: Duplicates, dropped: np.ndarray, known: pa.Array) -> pa.Array:
    """For each row the least cluster_id among the rows that are dropped for it, or null."""
    inherited = pa.table(
        {
            "kept": found.kept[dropped],
            "cluster_id": known.take(pa.array(dropped)),
        }
    )
    inherited = inherited.filter(pc.is_valid(inherited["cluster_id"]))
    least = inherited.group_by("kept").aggregate([("cluster_id", "min")])
    places = np.full(len(found.kept), -1, np.int64)
    places[least["kept"].to_numpy()] = np.arange(least.num_rows)
    return least["cluster_id_min"].combine_chunks().take(pa.array(places, mask=places < 0))
