"""Which texts equal, or nearly duplicate, texts of another set: exact, by true Jaccard similarity.

Deduplication compares a set with itself and keeps one of each cluster; here two sets are compared,
and every pair counts. The rarest n-grams of both select the pairs that are looked at (prefix
filtering: Chaudhuri et al., 2006), so that no pair is missed.
"""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from vertical_assets.corpus.dedup.dedup import normalize, sketch
from vertical_assets.spec import VerticalSpec

EXACT, NEAR = "exact", "near"
BLOCK = 2048  # texts that are compared at a time: memory holds their pairs
ROUNDING = 1e-9  # bounds are loosened by it, so that floats cost no pair


def matches(texts: list[str], others: list[str], spec: VerticalSpec) -> list[str | None]:
    """For each text whether one of the others is the same (normalised), or nearly so.

    Args:
        texts: what is judged.
        others: what it is compared with.
        spec: sections `dedup` (threshold, n-grams) and `language`.
    """
    same = set(map(normalize, others))
    near = near_matches(texts, others, spec) if texts and others else np.zeros(len(texts), bool)
    return [
        EXACT if normalize(text) in same else NEAR if close else None
        for text, close in zip(texts, near, strict=True)
    ]


def near_matches(texts: list[str], others: list[str], spec: VerticalSpec) -> NDArray[np.bool_]:
    """Whether a text's n-grams have a Jaccard similarity of at least `dedup.threshold` to those of
    one of the others.
    """
    threshold = spec.dedup.threshold
    sets = _ngram_sets([*texts, *others], spec)
    sizes = np.diff(sets.indptr)
    prefixes = _rarest(sets, threshold)
    theirs = prefixes[len(texts) :].T.tocsr()
    found = np.zeros(len(texts), bool)
    for start in range(0, len(texts), BLOCK):
        pairs = (prefixes[start : min(start + BLOCK, len(texts))] @ theirs).tocoo()
        first, second = pairs.row + start, pairs.col + len(texts)
        shared = np.asarray(sets[first].multiply(sets[second]).sum(axis=1)).ravel()
        union = sizes[first] + sizes[second] - shared
        found[first[shared >= threshold * union - ROUNDING]] = True
    return found


def _ngram_sets(texts: list[str], spec: VerticalSpec) -> sp.csr_array:
    """Texts x n-grams, 1 where the text has it; columns by how many texts have them, few first."""
    ids = pa.array([str(number) for number in range(len(texts))])
    batch = pa.RecordBatch.from_arrays([ids, pa.array(texts, pa.string())], ["doc_id", "text"])
    lists = sketch(batch, spec)["ngrams"]
    values, places = np.unique(lists.values.to_numpy(), return_inverse=True)
    order = np.argsort(np.bincount(places, minlength=len(values)), kind="stable")
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(values))
    sets = sp.csr_array(
        (np.ones(len(places), np.float32), rank[places], lists.offsets.to_numpy()),
        shape=(len(texts), len(values)),
    )
    sets.sort_indices()
    return sets


def _rarest(sets: sp.csr_array, threshold: float) -> sp.csr_array:
    """Of each set the |A| - ceil(t |A|) + 1 rarest elements: two similar sets share one."""
    sizes = np.diff(sets.indptr)
    keep = sizes - np.ceil(threshold * sizes - ROUNDING).astype(np.int64) + 1
    keep = np.minimum(keep, sizes)
    place = np.arange(sets.nnz) - np.repeat(sets.indptr[:-1], sizes)
    chosen = place < np.repeat(keep, sizes)
    return sp.csr_array(
        (sets.data[chosen], sets.indices[chosen], np.concatenate(([0], np.cumsum(keep)))),
        shape=sets.shape,
    )
