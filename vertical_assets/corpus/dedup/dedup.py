"""Deduplication: one document per cluster of exact and near duplicates (SPEC D3).

Exact, not estimated: documents are ranked by the keep policy; each is dropped if one that is kept
already has the same normalised text, or an n-gram set with a true Jaccard similarity of at least
the threshold. So clusters are stars, every dropped document is within the threshold of the one
that was kept for it, no two kept ones are, and neither the order of the rows nor how they are cut
into batches matters.

Two steps. `sketch` does the work per document and knows nothing of other documents: sketches of
an unchanged part can be stored and used again. `cluster` compares them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.dedup.keep_policy import by_preference
from vertical_assets.corpus.dedup.ngrams import (
    code_points,
    first_with_digest,
    hash_ngrams,
    normalize,
)
from vertical_assets.corpus.dedup.parallel import on_all_cores
from vertical_assets.corpus.dedup.set_join import (
    Sets,
    candidates,
    count,
    empty_counts,
    joined,
    stars,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, DUPLICATES

__all__ = [
    "SKETCHES",
    "Duplicates",
    "cluster",
    "deduplicate",
    "find_duplicates",
    "in_memory",
    "kept_documents",
    "normalize",
    "sketch",
    "sketches",
]

# What `sketch` makes of a document; reads `dedup.unit`, `dedup.ngram` and `language` only.
SKETCHES = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("published_at", pa.string()),
        pa.field("length", pa.int32(), nullable=False),  # characters of the normalised text
        pa.field("digest", pa.binary(16), nullable=False),  # of the normalised text
        pa.field("ngrams", pa.large_list(pa.field("element", pa.uint32(), nullable=False))),
    ]
)
_SMALL = SKETCHES.names[:-1]
Read = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


def sketch(batch: pa.RecordBatch, spec: VerticalSpec) -> pa.RecordBatch:
    """SKETCHES of a batch with `doc_id`, `text` and, where there are any, `source`, `published_at`.

    Raises:
        ValueError: a text is null.
    """
    if batch["text"].null_count:
        place = pc.index(pc.is_null(batch["text"]), True).as_py()
        raise ValueError(
            f"document {batch['doc_id'][place]} has no text (null); filter such rows by a rule"
        )
    points = code_points(batch["text"])
    hashed = hash_ngrams(points, spec.dedup_ngram, spec.dedup.unit)
    nulls = pa.nulls(batch.num_rows, pa.string())
    given = {name: batch[name] for name in ("source", "published_at") if name in batch.schema.names}
    columns = {
        "doc_id": batch["doc_id"],
        "source": given.get("source", nulls),
        "published_at": given.get("published_at", nulls),
        "length": pa.array((points.ends - points.starts).astype(np.int32)),
        "digest": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), batch.num_rows, [None, pa.py_buffer(hashed.digests)]
        ),
        "ngrams": pa.LargeListArray.from_arrays(
            hashed.offsets, hashed.values, type=SKETCHES.field("ngrams").type
        ),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=SKETCHES)


def sketches(batches: Iterable[pa.RecordBatch], spec: VerticalSpec) -> Iterator[pa.RecordBatch]:
    """`sketch` of every batch, on all cores, in order."""
    return on_all_cores(lambda batch: sketch(batch, spec), batches)


@dataclass(frozen=True)
class Duplicates:
    """Row by row, in the order of the input: which row is kept for it (itself where it stays)."""

    doc_ids: pa.Array
    kept: NDArray[np.int64]
    similarity: NDArray[np.float64]
    exact: NDArray[np.bool_]

    @property
    def stays(self) -> NDArray[np.bool_]:
        """Whether the row is kept."""
        return self.kept == np.arange(len(self.kept))

    def table(self, clusters: pa.Array | None = None) -> pa.Table:
        """DUPLICATES: a row for each dropped document, by the ids of kept and dropped one.

        `clusters` are the cluster_ids of all rows; by default a cluster is named after the kept
        document.
        """
        rows = np.flatnonzero(~self.stays)
        kept_id = self.doc_ids.take(pa.array(self.kept[rows]))
        columns = [
            kept_id if clusters is None else clusters.take(pa.array(rows)),
            kept_id,
            self.doc_ids.take(pa.array(rows)),
            pc.if_else(pa.array(self.exact[rows]), "exact", "near"),
            pa.array(self.similarity[rows]),
        ]
        table = pa.Table.from_arrays(columns, schema=DUPLICATES)
        return table.sort_by([("kept_id", "ascending"), ("dropped_id", "ascending")])


def cluster(read: Read, spec: VerticalSpec) -> Duplicates:
    """Compares sketches; everything in `dedup`, and the order of `sources`, has its say here.

    Memory holds about 300 bytes a document (measured: 1.6 GB for 2 M documents with all else),
    however long it is: n-grams are in files.

    Args:
        read: gives the named columns of SKETCHES as batches, the same rows each time that it is
            called, e.g. `Table.batches` or `in_memory(batches)`. Called three times.
        spec: sections `dedup` and `sources`.

    Raises:
        ValueError: `dedup.keep` is `newest` and a date is not ISO 8601, or it is `source` and a
            document's source is not in the spec.
    """
    small = pa.Table.from_batches(list(read(_SMALL)), pa.schema(map(SKETCHES.field, _SMALL)))
    ranked = by_preference(small, spec)
    first = first_with_digest(digest_words(small["digest"]), ranked)
    wanted = first == np.arange(len(first))

    threshold = spec.dedup.threshold
    counts = empty_counts(pc.sum(small["length"]).as_py() or 0)
    doc_ids = small["doc_id"]
    del small
    for start, values, offsets in _ngrams(read):
        count(counts, values, offsets, wanted[start : start + len(offsets) - 1])

    def of_batch(batch: tuple[int, NDArray[np.uint32], NDArray[np.int64]]) -> tuple[int, Sets]:
        start, values, offsets = batch
        rows = wanted[start : start + len(offsets) - 1]
        return start, candidates(counts, values, offsets, rows, threshold)

    sets = joined(on_all_cores(of_batch, _ngrams(read)))
    place = np.empty(len(first), np.int64)
    place[ranked] = np.arange(len(first))
    twins, similarity = stars(sets, np.argsort(place[sets.rows]), threshold)
    return duplicates_of(doc_ids, first, sets.rows, sets.rows[twins], similarity)


def duplicates_of(
    doc_ids: pa.ChunkedArray,
    first: NDArray[np.int64],
    rows: NDArray[np.int64],
    twins: NDArray[np.int64],
    similarity: NDArray[np.float64],
) -> Duplicates:
    """Exact and near duplicates together.

    Args:
        doc_ids: of all rows.
        first: for each row, the first in rank with the same normalised text.
        rows: such first rows that may have a similar one.
        twins: for each of `rows`, the row that is kept for it.
        similarity: of `rows` and `twins`.
    """
    kept, jaccard = first.copy(), np.ones(len(first), np.float64)
    kept[rows], jaccard[rows] = twins, similarity
    # An exact copy of a near duplicate belongs to what was kept for the near duplicate.
    exact = first != np.arange(len(first))
    copies = np.flatnonzero(exact)
    kept[copies], jaccard[copies] = kept[first[copies]], jaccard[first[copies]]
    exact[copies] = kept[copies] == first[copies]
    return Duplicates(doc_ids.combine_chunks(), kept, jaccard, exact)


def in_memory(batches: Iterable[pa.RecordBatch]) -> Read:
    """Sketches that are held in memory, as `cluster` reads them."""
    held = list(batches)
    return lambda columns: (batch.select(columns) for batch in held)


def find_duplicates(batches: Iterable[pa.RecordBatch], spec: VerticalSpec) -> Duplicates:
    """`sketches` and `cluster` in one go, with the sketches in memory."""
    return cluster(in_memory(sketches(batches, spec)), spec)


def kept_documents(
    batches: Iterable[pa.RecordBatch], duplicates: Duplicates
) -> Iterator[pa.RecordBatch]:
    """The rows that stay, with `cluster_id`; batches hold the same rows as those clustered."""
    first, stays = 0, duplicates.stays
    for batch in batches:
        chosen = batch.filter(pa.array(stays[first : first + batch.num_rows]))
        first += batch.num_rows
        yield chosen.append_column(DEDUP_DOCUMENTS.field("cluster_id"), chosen["doc_id"])


@dataclass(frozen=True)
class Deduplicated:
    """What stays, and which document each dropped one duplicates."""

    documents: pa.Table
    duplicates: pa.Table


def deduplicate(documents: pa.Table, spec: VerticalSpec) -> Deduplicated:
    """All of it for a table in memory: the table with `cluster_id`, and DUPLICATES."""
    batches = documents.to_batches()
    duplicates = find_duplicates(batches, spec)
    schema = documents.schema.append(DEDUP_DOCUMENTS.field("cluster_id"))
    kept = pa.Table.from_batches(list(kept_documents(batches, duplicates)), schema)
    return Deduplicated(kept, duplicates.table())


def digest_words(digests: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Digests of 16 bytes as pairs of integers."""
    chunks = [
        np.frombuffer(chunk.buffers()[1] or b"", np.uint64, 2 * len(chunk), 16 * chunk.offset)
        for chunk in digests.chunks
    ]
    return np.concatenate([np.empty(0, np.uint64), *chunks]).reshape(-1, 2)


def _ngrams(read: Read) -> Iterator[tuple[int, NDArray[np.uint32], NDArray[np.int64]]]:
    """First row, n-grams and offsets of every batch."""
    first = 0
    for batch in read(["ngrams"]):
        lists = batch["ngrams"]
        yield first, lists.values.to_numpy(), lists.offsets.to_numpy()
        first += batch.num_rows
