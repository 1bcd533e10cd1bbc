"""Contamination: evaluation items that the corpus holds, by shared n-grams, in one compiled pass.

Brown et al., "Language Models are Few-Shot Learners" (2020), appendix C: an item is suspect where
it shares an n-gram of up to 13 words with the training text, ignoring case, punctuation and white
space. Only the items' n-grams are held in memory; documents stream past them.
"""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.splitmix import mix
from vertical_assets.store.contracts import CONTAMINATION

NGRAM = 13
# Brown et al. take no n-gram of fewer than 8 words: anything shorter is found by chance.
SHORTEST = 8
_SAME_TEXT = 1 << 62  # in place of a number of n-grams
_WHOLE = 0xD1B54A32D192ED03  # tells a whole text's key from an n-gram's
_BASE = 0x9E3779B97F4A7C15  # odd: the golden ratio, as in splitmix64
_PLANE = 1 << 16


def find_contamination(
    items: pa.Table,
    documents: Iterable[pa.RecordBatch],
    ngram: int = NGRAM,
    unit: str = "word",
    leave_out: Collection[str] = (),
) -> pa.Table:
    """Reports which documents hold text of which evaluation items.

    Units are words, or characters for languages that put no spaces between words. The default of
    13 serves both: 13 shared words are at least 13 shared characters, so that characters may
    report more than words would, never less. An item shorter than `ngram` is one n-gram, looked
    for inside longer documents; one shorter than `SHORTEST` is found only where it is a
    document's whole text, since such words are met everywhere. An item without a single letter or
    digit can't be compared and is never found.

    Args:
        items: columns `item_id`, `text`.
        documents: batches with columns `doc_id`, `text`; an item's own document (the same id) is
            passed over.
        ngram: units in an n-gram.
        unit: word | character.
        leave_out: ids of documents to pass over, e.g. those that the items were made from.

    Returns:
        pa.Table: CONTAMINATION, sorted by item, greatest overlap first, then document.

    Raises:
        ValueError: `unit` is neither, or `ngram` is less than 1.
    """
    if unit not in ("word", "character") or ngram < 1:
        raise ValueError(
            f"n-grams of {ngram} {unit!r}: the unit is 'word' or 'character', the length at least 1"
        )
    item_ids = items["item_id"].combine_chunks()
    index = _Index.of(items["text"].combine_chunks(), ngram, unit == "word")
    passed_over = pa.array(list(leave_out), pa.string())
    found: list[pa.RecordBatch] = []
    for batch in documents:
        kept = batch.filter(pc.invert(pc.is_in(batch["doc_id"], passed_over)))
        row, item, shared = index.search(kept["text"], pc.index_in(kept["doc_id"], item_ids)).T
        overlap = np.minimum(1.0, shared / np.maximum(1, index.sizes[item]))
        found.append(
            pa.RecordBatch.from_arrays(
                [
                    item_ids.take(pa.array(item)),
                    kept["doc_id"].take(pa.array(row)),
                    pa.array(overlap),
                    pc.if_else(pa.array(shared == _SAME_TEXT), "exact", "ngram"),
                ],
                schema=CONTAMINATION,
            )
        )
    return pa.Table.from_batches(found, CONTAMINATION).sort_by(
        [("item_id", "ascending"), ("overlap", "descending"), ("doc_id", "ascending")]
    )


def _points(texts: pa.Array) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """All code points, and where each text begins."""
    joined = "".join(texts.to_pylist())
    offsets = np.concatenate(([0], np.cumsum(pc.utf8_length(texts).to_numpy(), dtype=np.int64)))
    return np.frombuffer(joined.encode("utf-32-le"), np.uint32), offsets


@cache
def _folded() -> NDArray[np.uint32]:
    """Code point -> what it is compared as; 0 for all that is no letter or digit.

    Compatibility forms, case and accents are folded. Beyond the basic plane all stays as it is.
    """
    table = np.zeros(_PLANE, np.uint32)
    for point in range(_PLANE):
        character = chr(point)
        if character.isalnum():
            base, *marks = list(unicodedata.normalize("NFKD", character))
            # Hangul comes apart into letters, not into a base and its marks: it stays whole.
            if all(unicodedata.combining(mark) for mark in marks):
                character = base
            table[point] = ord(character.casefold()[0])
    return table


@dataclass(frozen=True)
class _Index:
    """Items' n-grams: key g is found in `items[offsets[g]:offsets[g + 1]]`."""

    keys: NDArray[np.uint64]
    slots: NDArray[np.int32]  # open addressing: the key's number, or -1
    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    sizes: NDArray[np.int64]  # distinct n-grams of each item
    widths: NDArray[np.int64]  # lengths of n-grams that occur
    by_word: bool

    @classmethod
    def of(cls, texts: pa.Array, ngram: int, by_word: bool) -> "_Index":
        points, starts = _points(texts)
        powers = np.array([pow(_BASE, width, 1 << 64) for width in range(ngram + 1)], np.uint64)
        pairs = np.empty((len(points) + 2 * len(texts), 2), np.uint64)
        widths = np.zeros(len(texts), np.int64)
        filled = _item_grams(
            points, starts, _folded(), by_word, _room(starts), ngram, min(SHORTEST, ngram), powers,
            pairs, widths,
        )  # fmt: skip
        pairs = pairs[:filled]
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        repeated = (pairs[1:] == pairs[:-1]).all(axis=1)
        pairs = pairs[~np.append(False, repeated)[: len(pairs)]]
        keys, first = np.unique(pairs[:, 0], return_index=True)
        items = pairs[:, 1].astype(np.int64)
        slots = np.full(1 << (4 * len(keys) + 7).bit_length(), -1, np.int32)
        _fill(keys, slots)
        return cls(
            keys,
            slots,
            np.append(first, len(pairs)).astype(np.int64),
            items,
            # One key of each item stands for its whole text.
            np.bincount(items, minlength=len(texts)) - 1,
            np.unique(widths[widths > 0]),
            by_word,
        )

    def search(self, texts: pa.Array, own: pa.Array) -> NDArray[np.int64]:
        """Rows (text, item, n-grams shared or `_SAME_TEXT`); a text's `own` item is left out."""
        points, starts = _points(texts)
        owns = pc.fill_null(own, -1).to_numpy().astype(np.int64)
        powers = np.array([pow(_BASE, int(width), 1 << 64) for width in self.widths], np.uint64)
        seen = np.full(len(self.keys), -1, np.int64)
        touched, shared = np.zeros((2, len(self.sizes)), np.int64)
        rows = np.empty((len(self.sizes) + len(texts), 3), np.int64)
        found, following = [rows[:0]], 0
        while following < len(texts):
            filled, following = _search(
                points, starts, _folded(), self.by_word, _room(starts), owns, following,
                self.keys, self.slots, self.offsets, self.items, self.widths, powers,
                seen, touched, shared, rows,
            )  # fmt: skip
            found.append(rows[:filled].copy())
        return np.concatenate(found)


def _room(offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Room for the sums of the longest text."""
    return np.zeros(np.diff(offsets).max(initial=0) + 2, np.uint64)


# Arrays come from outside, all of one kind: so the kernels compile in seconds.


@numba.njit(cache=True)
def _sums(points, start, end, folded, by_word, sums):  # type: ignore[no-untyped-def]
    """sums[i]: polynomial hash of the first i units, modulo 2^64. Returns how many there are."""
    size = 0
    unit = np.uint64(0)
    for j in range(start, end):
        point = points[j]
        if point < len(folded):
            point = folded[point]
        if point:
            unit = mix(unit + np.uint64(point) + np.uint64(1))
        if unit and not (by_word and point and j + 1 < end):
            sums[size + 1] = sums[size] * np.uint64(_BASE) + unit
            size += 1
            unit = np.uint64(0)
    return size


@numba.njit(cache=True)
def _key(sums, start, width, power):  # type: ignore[no-untyped-def]
    return mix(sums[start + width] - sums[start] * power + np.uint64(width))


@numba.njit(cache=True)
def _item_grams(  # type: ignore[no-untyped-def]
    points, offsets, folded, by_word, sums, ngram, shortest, powers, pairs, widths
):
    """Fills (n-gram, item) pairs, the whole text's key among them, and each item's width."""
    filled = 0
    for i in range(len(offsets) - 1):
        size = _sums(points, offsets[i], offsets[i + 1], folded, by_word, sums)
        if size == 0:
            continue
        pairs[filled, 0] = mix(sums[size] + np.uint64(_WHOLE))
        pairs[filled, 1] = i
        filled += 1
        width = min(ngram, size)
        if width < shortest:
            continue
        widths[i] = width
        for j in range(size - width + 1):
            pairs[filled, 0] = _key(sums, j, width, powers[width])
            pairs[filled, 1] = i
            filled += 1
    return filled


@numba.njit(cache=True)
def _find(keys, slots, key):  # type: ignore[no-untyped-def]
    """(slot, number of the key or -1)."""
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    while slots[slot] >= 0:
        if keys[slots[slot]] == key:
            return slot, slots[slot]
        slot = (slot + np.uint64(1)) & mask
    return slot, -1


@numba.njit(cache=True)
def _fill(keys, slots):  # type: ignore[no-untyped-def]
    for number in range(len(keys)):
        slots[_find(keys, slots, keys[number])[0]] = number


@numba.njit(cache=True)
def _search(  # type: ignore[no-untyped-def]
    points, offsets, folded, by_word, sums, own, first,
    keys, slots, starts, items, widths, powers, seen, touched, shared, rows,
):  # fmt: skip
    """Fills rows from text `first` on, as far as they reach; returns (filled, following text)."""
    filled = 0
    for i in range(first, len(offsets) - 1):
        if filled + len(shared) > len(rows):
            return filled, i
        size = _sums(points, offsets[i], offsets[i + 1], folded, by_word, sums)
        met = 0
        for w in range(len(widths)):
            for j in range(size - widths[w] + 1):
                key = _key(sums, j, widths[w], powers[w])
                number = _find(keys, slots, key)[1]
                if number >= 0 and seen[number] != i:  # an n-gram counts once a text
                    seen[number] = i
                    for k in range(starts[number], starts[number + 1]):
                        if shared[items[k]] == 0:
                            touched[met] = items[k]
                            met += 1
                        shared[items[k]] += 1
        number = _find(keys, slots, mix(sums[size] + np.uint64(_WHOLE)))[1] if size else -1
        if number >= 0:
            for k in range(starts[number], starts[number + 1]):
                if shared[items[k]] == 0:
                    touched[met] = items[k]
                    met += 1
                shared[items[k]] = _SAME_TEXT
        for k in range(met):
            if touched[k] != own[i]:
                rows[filled, 0] = i
                rows[filled, 1] = touched[k]
                rows[filled, 2] = shared[touched[k]]
                filled += 1
            shared[touched[k]] = 0
    return filled, len(offsets) - 1
