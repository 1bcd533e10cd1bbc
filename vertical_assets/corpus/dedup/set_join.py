"""Exact set-similarity join by prefix filtering, compiled: no pair is missed, none is guessed.

Two sets with Jaccard similarity >= t share one of the rarest |A| - ceil(t |A|) + 1 elements of each
(Chaudhuri et al., "A primitive operator for similarity joins", 2006; Bayardo et al., "Scaling up
all pairs similarity search", 2007; Xiao et al., "Efficient similarity joins for near duplicate
detection", 2008). So a set is looked up by its few rarest n-grams only, and a set whose rarest
n-grams occur nowhere else needs no look-up at all: which is most of a corpus. Any total order of
the elements is right; "rare" may be told from a table of counts in which some n-grams share a slot.

Cost grows with how often the rarest n-grams of a document recur among the documents kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from tempfile import TemporaryFile

import numba
import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9  # bounds are loosened by it, so that floats cost no pair
_MOST = 2**16 - 1  # counts and sizes of sets end here
_TURNS = 1 << 16  # sets after which the pages of elements are let go
_NO_VALUES = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Sets:
    """Sets that may have a similar one, with what the join looks them up by.

    Set k has number `rows[k]` and `sizes[k]` elements; the sets' elements stand one after another
    in `values`. The first `prefixes[k]` of its elements are the rarest that another set has too,
    and `last[k]` is the greatest (class, element) of them.
    """

    rows: NDArray[np.int64]
    sizes: NDArray[np.int32]
    prefixes: NDArray[np.int32]
    last: NDArray[np.uint64]
    values: NDArray[np.uint32]


def empty_counts(elements: int) -> NDArray[np.uint16]:
    """A table of counts for so many elements; small, since it is as fast as the cache it is in."""
    return np.zeros(1 << int(np.clip(np.ceil(np.log2(max(elements, 1))) - 4, 10, 28)), np.uint16)


def count(
    counts: NDArray[np.uint16],
    values: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    wanted: NDArray[np.bool_],
) -> None:
    """Adds the elements of the wanted sets to the table of counts; see `candidates`."""
    _count(counts, _shift(counts), values, offsets, wanted)


def _shift(table: NDArray[np.uint16] | NDArray[np.uint8]) -> np.uint32:
    return np.uint32(33 - len(table).bit_length())


@numba.njit(cache=True, nogil=True)
def _count(counts, shift, values, offsets, wanted):  # type: ignore[no-untyped-def]
    """Adds the elements of the wanted sets to the table of counts."""
    for i in range(len(wanted)):
        if wanted[i]:
            for j in range(offsets[i], offsets[i + 1]):
                slot = values[j] >> shift
                counts[slot] += counts[slot] < _MOST


def rarity(counts: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Counts as one of 64 classes: exact up to 32, then in steps of a quarter. Half the memory."""
    every = np.arange(_MOST + 1)
    steps = 32 + 2.8 * np.log2(np.maximum(every, 32) / 32)
    return np.where(every < 32, every, steps).astype(np.uint8)[counts]


@numba.njit(cache=True, nogil=True)
def _prefix_size(size, threshold):  # type: ignore[no-untyped-def]
    return size - int(np.ceil(threshold * size - _ROUNDING)) + 1


@numba.njit(cache=True, nogil=True)
def _smallest_first(keys, size, wanted):  # type: ignore[no-untyped-def]
    """Quickselect (Hoare, 1961): the `wanted` smallest of `keys[:size]` come first."""
    low, high = 0, size - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if wanted - 1 <= j:
            high = j
        elif wanted - 1 >= i:
            low = i
        else:
            return


@numba.njit(cache=True, nogil=True)
def _candidates(classes, shift, values, offsets, wanted, threshold):  # type: ignore[no-untyped-def]
    longest = 0
    for i in range(len(wanted)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    class_of = np.empty(longest, np.uint8)
    on_edge = np.empty(longest + 1, np.uint32)
    others = np.empty(longest + 1, np.uint32)
    tally = np.empty(64, np.int64)
    rows = np.empty(len(wanted), np.int64)
    sizes = np.empty(len(wanted), np.int32)
    prefixes = np.empty(len(wanted), np.int32)
    last = np.empty(len(wanted), np.uint64)
    chosen = np.empty(len(values) + 1, np.uint32)
    found, filled = 0, 0
    for i in range(len(wanted)):
        start, size = offsets[i], offsets[i + 1] - offsets[i]
        if not wanted[i] or size == 0:
            continue
        for j in range(size):
            class_of[j] = classes[values[start + j] >> shift]
        tally[:] = 0
        for j in range(size):
            tally[class_of[j]] += 1
        # Elements that no other set has are the rarest, and nothing can be looked up by them.
        prefix = _prefix_size(size, threshold) - tally[1]
        if prefix <= 0:
            continue
        edge, before = 2, 0
        while before + tally[edge] < prefix:
            before += tally[edge]
            edge += 1
        # Before, on and behind the edge; to write in vain is cheaper than to branch.
        front, middle, back = filled, 0, 0
        for j in range(size):
            value, rank = values[start + j], class_of[j]
            chosen[front], on_edge[middle], others[back] = value, value, value
            front += (rank > 1) & (rank < edge)
            middle += rank == edge
            back += (rank <= 1) | (rank > edge)
        _smallest_first(on_edge, middle, prefix - before)
        greatest = np.uint32(0)
        for j in range(prefix - before):
            greatest = max(greatest, on_edge[j])
        chosen[front : front + middle] = on_edge[:middle]
        chosen[front + middle : filled + size] = others[:back]
        rows[found], sizes[found], prefixes[found] = i, size, prefix
        last[found] = np.uint64(edge) << np.uint64(32) | np.uint64(greatest)
        filled += size
        found += 1
    return found, filled, rows, sizes, prefixes, last, chosen


def candidates(
    classes: NDArray[np.uint8],
    values: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    threshold: float,
) -> Sets:
    """Those of the wanted sets that share an element of their prefix with another one.

    Args:
        classes: `rarity` of the counts of all wanted sets of the corpus.
        values: elements; set i owns `values[offsets[i]:offsets[i + 1]]`.
        offsets: see `values`.
        wanted: which sets take part.
        threshold: Jaccard similarity.
    """
    found, filled, rows, sizes, prefixes, last, chosen = _candidates(
        classes, _shift(classes), values, offsets, wanted, threshold
    )
    return Sets(
        rows[:found].copy(),
        sizes[:found].copy(),
        prefixes[:found].copy(),
        last[:found].copy(),
        chosen[:filled].copy(),
    )


def joined(parts: Iterable[tuple[int, Sets]]) -> Sets:
    """Parts as one, each with the number of rows before it; elements go to a mapped file."""
    held: list[Sets] = []
    with TemporaryFile() as file:
        for first, sets in parts:
            file.write(sets.values.data)
            held.append(replace(sets, rows=first + sets.rows, values=_NO_VALUES))
        file.flush()
        # A file's pages can be let go at any time, see `stars`; an empty one can't be mapped.
        values = (
            np.frombuffer(mmap(file.fileno(), 0, access=ACCESS_READ), np.uint32)
            if file.tell()
            else _NO_VALUES
        )
    return Sets(
        np.concatenate([np.empty(0, np.int64), *(part.rows for part in held)]),
        np.concatenate([np.empty(0, np.int32), *(part.sizes for part in held)]),
        np.concatenate([np.empty(0, np.int32), *(part.prefixes for part in held)]),
        np.concatenate([np.empty(0, np.uint64), *(part.last for part in held)]),
        values,
    )


def stars(
    sets: Sets, order: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Greedy stars: each set, in this order, is kept unless one that is kept already is similar.

    Returns:
        For each of `sets`: place in `sets` of the kept one that it is most similar to (the earlier
        one where two are alike; itself where it is kept), and their Jaccard similarity.
    """
    number = len(sets.rows)
    kept, similarity = np.arange(number), np.ones(number, np.float64)
    place = np.empty(number, np.int32)
    place[order] = np.arange(number)
    starts = np.zeros(number + 1, np.int64)
    np.cumsum(sets.sizes, out=starts[1:])
    elements = max(1, int(sets.prefixes.sum()))
    spans = np.zeros((1 << int(np.clip(np.ceil(np.log2(elements)) - 2, 8, 28)), 2), np.uint32)
    for turns in _turns(sets):
        _count_slots(spans, starts[turns], sets.prefixes[turns], sets.values)
    # Postings are the kept sets by the elements of their prefixes: where each slot's begin, and,
    # for now, end. Elements that share a slot cost time only.
    spans[1:, 0] = np.cumsum(spans[:-1, 1])
    spans[:, 1] = spans[:, 0]
    posted, posted_sizes = np.empty(elements, np.uint32), np.empty(elements, np.uint16)
    for turns in _turns(sets):
        _stars(
            sets.sizes, sets.prefixes, sets.last, sets.values, order[turns], threshold,
            starts, place, spans, posted, posted_sizes, kept, similarity,
        )  # fmt: skip
    return kept, similarity


def _turns(sets: Sets) -> Iterator[slice]:
    """All sets, some at a time; what was read of their elements is let go after each time."""
    for first in range(0, len(sets.rows), _TURNS):
        yield slice(first, first + _TURNS)
        if isinstance(sets.values.base, mmap):
            sets.values.base.madvise(MADV_DONTNEED)


@numba.njit(cache=True, nogil=True)
def _count_slots(spans, starts, prefixes, values):  # type: ignore[no-untyped-def]
    shift = np.uint32(32 - int(np.log2(len(spans))))
    for k in range(len(prefixes)):
        for j in range(starts[k], starts[k] + prefixes[k]):
            spans[values[j] >> shift, 1] += np.uint32(1)


@numba.njit(cache=True, nogil=True)
def _stars(  # type: ignore[no-untyped-def]
    sizes, prefixes, last, values, order, threshold,
    starts, place, spans, posted, posted_sizes, kept, similarity,
):  # fmt: skip
    """Some turns of `stars`."""
    number = len(sizes)
    largest = 1
    for k in order:
        largest = max(largest, sizes[k])
    shift = np.uint32(32 - int(np.log2(len(spans))))
    slots = 4
    while slots < 4 * largest:
        slots *= 2
    mask = np.uint64(0)
    own = np.zeros(slots, np.uint64)  # turn + 1 and element, as a set: never cleared
    hits = np.zeros(number, np.int32)
    touched = np.empty(number, np.int32)
    begin = np.empty(largest, np.uint32)
    end = np.empty(largest, np.uint32)
    for turn in range(len(order)):
        k = order[turn]
        size = sizes[k]
        # |A n B| >= t |A u B| bounds the size of the other set.
        least = min(_MOST, int(np.ceil(threshold * size - _ROUNDING)))
        most = int(size / threshold + _ROUNDING)
        for j in range(prefixes[k]):  # by themselves, these reads do not wait for each other
            slot = values[starts[k] + j] >> shift
            begin[j], end[j] = spans[slot, 0], spans[slot, 1]
        met = 0
        for j in range(prefixes[k]):
            for at in range(begin[j], end[j]):
                if least <= posted_sizes[at] <= most:
                    other = posted[at]
                    if hits[other] == 0:
                        touched[met] = other
                        met += 1
                    hits[other] += 1
        best, nearest, loaded = 0.0, -1, False
        for m in range(met):
            other = touched[m]
            rest = sizes[other]
            shared = hits[other]
            hits[other] = 0
            # |A n B| >= t / (1 + t) (|A| + |B|), and |A n B| <= min(|A|, |B|).
            needed = int(np.ceil(threshold / (1.0 + threshold) * (size + rest) - _ROUNDING))
            if needed > min(size, rest):
                continue
            # Whatever they share up to the smaller `last` has been hit; more may be behind it.
            behind = size if last[k] <= last[other] else rest
            if shared + behind - _prefix_size(behind, threshold) < needed:
                continue
            stamp = np.uint64(turn + 1) << np.uint64(32)
            if not loaded:
                loaded = True
                slots = 4
                while slots < 4 * size:
                    slots *= 2
                mask = np.uint64(slots - 1)
                for j in range(starts[k], starts[k + 1]):
                    entry = stamp | np.uint64(values[j])
                    slot64 = entry & mask
                    while own[slot64] >= stamp:
                        slot64 = (slot64 + np.uint64(1)) & mask
                    own[slot64] = entry
            common = 0
            for j in range(starts[other], starts[other + 1]):
                entry = stamp | np.uint64(values[j])
                slot64 = entry & mask
                while stamp <= own[slot64] != entry:
                    slot64 = (slot64 + np.uint64(1)) & mask
                common += own[slot64] == entry
                if common + starts[other + 1] - 1 - j < needed:
                    break
            value = common / (size + rest - common)
            if value >= threshold and (
                value > best or (value == best and place[other] < place[nearest])
            ):
                best, nearest = value, other
        if nearest >= 0:
            kept[k], similarity[k] = nearest, best
        else:
            for j in range(starts[k], starts[k] + prefixes[k]):
                slot = values[j] >> shift
                posted[spans[slot, 1]] = k
                posted_sizes[spans[slot, 1]] = min(size, _MOST)
                spans[slot, 1] += np.uint32(1)
