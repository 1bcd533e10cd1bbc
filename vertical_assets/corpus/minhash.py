"""MinHash LSH, compiled: near-duplicate clusters in which every drop is verified (SPEC D3).

Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec et al.,
"Mining of Massive Datasets", section 3.4. Documents come in order of preference. Each is compared
with the documents kept so far that share a band with it; it is dropped only if its true Jaccard
similarity to one of them reaches the threshold. So clusters are stars around what is kept, never
chains, and no unverified candidate drops anything.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

MISS = 1e-6  # greatest chance that a pair exactly at the threshold shares no band
_EMPTY = -1


@dataclass(frozen=True)
class Shingles:
    """Sets of n-gram hashes: document i owns `values[offsets[i]:offsets[i + 1]]`, sorted."""

    values: NDArray[np.uint64]
    offsets: NDArray[np.int64]


def bands_for(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows): the most selective banding that still misses fewer than one pair in a million.

    A pair of similarity s shares no band with probability (1 - s^rows)^bands.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if (1.0 - threshold**rows) ** bands <= MISS:
            return bands, rows
    return permutations, 1


def shingle(texts: list[str], ngram: int, unit: str) -> Shingles:
    """Hashes every n-gram of characters or words; a text shorter than n is one n-gram."""
    lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    values, counts = _shingle(points, offsets, ngram, unit == "word")
    return Shingles(values, np.concatenate(([0], np.cumsum(counts))))


def near_duplicates(
    shingles: Shingles, threshold: float, permutations: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each document: index of the kept document that it duplicates (itself where it is kept),
    and their true Jaccard similarity. Earlier documents are preferred to later ones.
    """
    bands, rows = bands_for(threshold, permutations)
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, 2**63, bands * rows, np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, bands * rows, np.uint64)
    keys = _band_keys(shingles.values, shingles.offsets, factors, shifts, bands, rows)
    return _cluster(shingles.values, shingles.offsets, keys, threshold)


@numba.njit(cache=True, inline="always")
def _mix(value: np.uint64) -> np.uint64:
    """Finalizer of splitmix64 (Steele et al., 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True)
def _shingle(points, offsets, ngram, by_word):  # type: ignore[no-untyped-def]
    documents = len(offsets) - 1
    counts = np.zeros(documents, np.int64)
    values = np.empty(len(points) + documents, np.uint64)  # never more n-grams than characters
    filled = 0
    longest = 0
    for i in range(documents):
        longest = max(longest, offsets[i + 1] - offsets[i])
    units = np.empty(longest + 1, np.uint64)
    for i in range(documents):
        size = 0
        if by_word:
            word = np.uint64(0)
            for j in range(offsets[i], offsets[i + 1]):
                if points[j] == 32:
                    if word:
                        units[size] = word
                        size += 1
                    word = np.uint64(0)
                else:
                    word = _mix(word + np.uint64(points[j]) + np.uint64(1))
            if word:
                units[size] = word
                size += 1
        else:
            for j in range(offsets[i], offsets[i + 1]):
                units[size] = np.uint64(points[j])
                size += 1
        start = filled
        width = min(ngram, size)
        for j in range(size - width + 1 if size else 0):
            value = np.uint64(0)
            for k in range(width):
                value = _mix(value + units[j + k] + np.uint64(1))
            values[filled] = value
            filled += 1
        values[start:filled].sort()
        distinct = start
        for j in range(start, filled):
            if j == start or values[j] != values[distinct - 1]:
                values[distinct] = values[j]
                distinct += 1
        filled = distinct
        counts[i] = filled - start
    return values[:filled].copy(), counts


@numba.njit(cache=True)
def _band_keys(values, offsets, factors, shifts, bands, rows):  # type: ignore[no-untyped-def]
    documents = len(offsets) - 1
    keys = np.empty((documents, bands), np.uint64)
    signature = np.empty(bands * rows, np.uint64)
    for i in range(documents):
        signature[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for j in range(offsets[i], offsets[i + 1]):
            value = values[j]
            for k in range(bands * rows):
                signature[k] = min(signature[k], (value * factors[k] + shifts[k]) >> np.uint64(32))
        for band in range(bands):
            key = np.uint64(band)
            for k in range(band * rows, band * rows + rows):
                key = _mix(key + signature[k])
            keys[i, band] = key
    return keys


@numba.njit(cache=True)
def _jaccard(values, a, a_end, b, b_end):  # type: ignore[no-untyped-def]
    size = (a_end - a) + (b_end - b)
    shared = 0
    while a < a_end and b < b_end:
        if values[a] == values[b]:
            shared += 1
            a += 1
            b += 1
        elif values[a] < values[b]:
            a += 1
        else:
            b += 1
    return shared / (size - shared) if size > shared else 1.0


@numba.njit(cache=True)
def _cluster(values, offsets, keys, threshold):  # type: ignore[no-untyped-def]
    documents, bands = keys.shape
    slots = 1
    while slots < 2 * documents:
        slots *= 2
    mask = np.uint64(slots - 1)
    head = np.full((bands, slots), _EMPTY, np.int32)
    following = np.full((documents, bands), _EMPTY, np.int32)
    compared = np.full(documents, _EMPTY, np.int64)
    kept = np.arange(documents)
    similarity = np.ones(documents, np.float64)
    for i in range(documents):
        best, nearest = 0.0, _EMPTY
        for band in range(bands):
            j = head[band, keys[i, band] & mask]
            while j != _EMPTY:
                if keys[j, band] == keys[i, band] and compared[j] != i:
                    compared[j] = i
                    size_i, size_j = offsets[i + 1] - offsets[i], offsets[j + 1] - offsets[j]
                    # |A n B| / |A u B| is at most the ratio of the sizes.
                    if min(size_i, size_j) >= threshold * max(size_i, size_j):
                        value = _jaccard(
                            values, offsets[i], offsets[i + 1], offsets[j], offsets[j + 1]
                        )
                        if value > best or (value == best and j < nearest):
                            best, nearest = value, j
                j = following[j, band]
        if nearest != _EMPTY and best >= threshold:
            kept[i], similarity[i] = nearest, best
        else:
            for band in range(bands):
                slot = keys[i, band] & mask
                following[i, band] = head[band, slot]
                head[band, slot] = i
    return kept, similarity
