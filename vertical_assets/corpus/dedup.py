"""Deduplication: one document per cluster of exact and near duplicates (SPEC D3)."""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from vertical_assets.corpus.minhash import near_duplicates, shingle
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, DUPLICATES

_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Deduplicated:
    """What stays, and which document each dropped one duplicates."""

    documents: pa.Table
    duplicates: pa.Table


def normalize(text: str) -> str:
    """What two equal texts have in common: NFKC, case folded, runs of white space as one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def deduplicate(documents: pa.Table, spec: VerticalSpec) -> Deduplicated:
    """Keeps one document of each cluster, by the policy `dedup.keep`.

    Order does not matter: documents are ranked (longest first, then by id), and every dropped
    document is within the threshold of the one that was kept in its place.

    Args:
        documents: DOCUMENTS.
        spec: sections `dedup`, `language`, `seed`.

    Returns:
        Deduplicated: DEDUP_DOCUMENTS in the order of the input, and DUPLICATES.
    """
    ids = documents["doc_id"].to_pylist()
    texts = [normalize(text) for text in documents["text"].to_pylist()]
    if spec.dedup.keep == "longest":
        ranked = sorted(range(len(ids)), key=lambda i: (-len(texts[i]), ids[i]))
    else:
        ranked = list(range(len(ids)))

    kept_as: dict[int, tuple[int, str, float]] = {}
    first: dict[bytes, int] = {}
    for i in ranked:
        twin = first.setdefault(xxhash.xxh3_128_digest(texts[i].encode()), i)
        if twin != i:
            kept_as[i] = (twin, "exact", 1.0)
    distinct = list(first.values())
    shingles = shingle([texts[i] for i in distinct], spec.dedup_ngram, spec.dedup_unit)
    kept, similarity = near_duplicates(
        shingles, spec.dedup.threshold, spec.dedup.permutations, spec.seed
    )
    for position in np.flatnonzero(kept != np.arange(len(distinct))):
        i, twin = distinct[position], distinct[kept[position]]
        kept_as[i] = (twin, "near", float(similarity[position]))
    # An exact copy of a near duplicate belongs to what was kept for the near duplicate.
    for i, (twin, method, _) in list(kept_as.items()):
        if method == "exact" and twin in kept_as:
            kept_as[i] = kept_as[twin]

    stays = np.ones(len(ids), bool)
    stays[list(kept_as)] = False
    remaining = documents.filter(pa.array(stays))
    dropped = sorted(kept_as, key=lambda i: (ids[kept_as[i][0]], ids[i]))
    return Deduplicated(
        documents=remaining.append_column("cluster_id", remaining["doc_id"]).cast(DEDUP_DOCUMENTS),
        duplicates=pa.Table.from_pydict(
            {
                "cluster_id": [ids[kept_as[i][0]] for i in dropped],
                "kept_id": [ids[kept_as[i][0]] for i in dropped],
                "dropped_id": [ids[i] for i in dropped],
                "method": [kept_as[i][1] for i in dropped],
                "similarity": [kept_as[i][2] for i in dropped],
            },
            DUPLICATES,
        ),
    )
