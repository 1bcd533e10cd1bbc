"""The pool: a bounded sample of the documents that still want labels.

The documents with the least hash of seed and id, so that a new one pushes out at most one, and that
the sample is uniform whatever order they come in.
"""

import heapq
from collections.abc import Container, Iterable
from typing import NamedTuple

import pyarrow as pa
import xxhash


class Document(NamedTuple):
    """An item of the pool."""

    item_id: str
    text: str


def draw_pool(
    documents: Iterable[pa.RecordBatch], left_out: Container[str], size: int, seed: int
) -> list[Document]:
    """Draws documents; their order in the pool is that of their hashes, hence random too.

    Args:
        documents: batches with doc_id, text. Held are `size` texts.
        left_out: ids that are not drawn.
        size: documents at most.
        seed: the vertical's.
    """
    least: list[tuple[int, str, str]] = []  # a heap with the greatest hash, negated, at its top
    for batch in documents:
        for row, doc_id in enumerate(batch["doc_id"].to_pylist()):
            if doc_id in left_out:
                continue
            rank = -rank_of(doc_id, seed)
            if len(least) < size:
                heapq.heappush(least, (rank, doc_id, batch["text"][row].as_py()))
            elif (rank, doc_id) > least[0][:2]:
                heapq.heapreplace(least, (rank, doc_id, batch["text"][row].as_py()))
    return [Document(doc_id, text) for _, doc_id, text in sorted(least, reverse=True)]


def rank_of(item: str, seed: int) -> int:
    """Where an item stands in the random order that a seed gives."""
    return xxhash.xxh3_64_intdigest(f"{seed}\0pool\0{item}".encode())
