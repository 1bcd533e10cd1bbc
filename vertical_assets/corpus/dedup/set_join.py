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
_MOST = 2**16 - 1  # sizes of sets end here, where they stand beside postings
FREQUENT = 255  # counts end here
_TURNS = 256  # sets after which the pages that hold their elements are let go
_NO_VALUES = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Sets:
    """Sets that may have a similar one, with what the join looks them up by.

    Set k has number `rows[k]` and `sizes[k]` elements. `values` holds, one set after another, the
    `shared[k]` of them that other sets may have too. The first `prefixes[k]` are the rarest, and
    `last[k]` is the greatest (count, element) of these.
    """

    rows: NDArray[np.int64]
    sizes: NDArray[np.int32]
    shared: NDArray[np.int32]
    prefixes: NDArray[np.int32]
    last: NDArray[np.uint64]
    values: NDArray[np.uint32]
    mapped: mmap | None = None  # the file that `values` lie in


def empty_counts(elements: int) -> NDArray[np.uint8]:
    """A table of counts for so many elements. The smaller, the faster; but where elements share
    slots, those of one set only are not known as such.
    """
    return np.zeros(1 << int(np.clip(np.ceil(np.log2(max(elements, 1))) - 2, 10, 28)), np.uint8)


def count(
    counts: NDArray[np.uint8],
    values: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    wanted: NDArray[np.bool_],
) -> None:
    """Adds the elements of the wanted sets to the table of counts; see `candidates`."""
    _count(counts, _shift(counts), values, offsets, wanted)


def _shift(table: NDArray[np.uint8]) -> np.uint32:
    return np.uint32(33 - len(table).bit_length())


@numba.njit(cache=True, nogil=True)
def _count(counts, shift, values, offsets, wanted):  # type: ignore[no-untyped-def]
    """Adds the elements of the wanted sets to the table of counts."""
    for i in range(len(wanted)):
        if wanted[i]:
            for j in range(offsets[i], offsets[i + 1]):
                slot = values[j] >> shift
                counts[slot] += counts[slot] < FREQUENT


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
def _candidates(counts, shift, values, offsets, wanted, threshold):  # type: ignore[no-untyped-def]
    longest = 0
    for i in range(len(wanted)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    count_of = np.empty(longest, np.uint8)
    on_edge = np.empty(longest + 1, np.uint32)
    others = np.empty(longest + 1, np.uint32)
    tally = np.empty(FREQUENT + 1, np.int64)
    rows = np.empty(len(wanted), np.int64)
    sizes = np.empty(len(wanted), np.int32)
    shared = np.empty(len(wanted), np.int32)
    prefixes = np.empty(len(wanted), np.int32)
    last = np.empty(len(wanted), np.uint64)
    chosen = np.empty(len(values) + 1, np.uint32)
    found, filled = 0, 0
    for i in range(len(wanted)):
        start, size = offsets[i], offsets[i + 1] - offsets[i]
        if not wanted[i] or size == 0:
            continue
        for j in range(size):
            count_of[j] = counts[values[start + j] >> shift]
        tally[:] = 0
        for j in range(size):
            tally[count_of[j]] += 1
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
            value, rank = values[start + j], count_of[j]
            chosen[front], on_edge[middle], others[back] = value, value, value
            front += (rank > 1) & (rank < edge)
            middle += rank == edge
            back += rank > edge
        _smallest_first(on_edge, middle, prefix - before)
        greatest = np.uint32(0)
        for j in range(prefix - before):
            greatest = max(greatest, on_edge[j])
        chosen[front : front + middle] = on_edge[:middle]
        chosen[front + middle : front + middle + back] = others[:back]
        rows[found], sizes[found], prefixes[found] = i, size, prefix
        shared[found] = front + middle + back - filled
        last[found] = np.uint64(edge) << np.uint64(32) | np.uint64(greatest)
        filled += shared[found]
        found += 1
    return found, filled, rows, sizes, shared, prefixes, last, chosen


def candidates(
    counts: NDArray[np.uint8],
    values: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    threshold: float,
) -> Sets:
    """Those of the wanted sets that share an element of their prefix with another one.

    Args:
        counts: of the elements of all wanted sets of the corpus, see `count`.
        values: elements; set i owns `values[offsets[i]:offsets[i + 1]]`.
        offsets: see `values`.
        wanted: which sets take part.
        threshold: Jaccard similarity.
    """
    found, filled, rows, sizes, shared, prefixes, last, chosen = _candidates(
        counts, _shift(counts), values, offsets, wanted, threshold
    )
    return Sets(
        rows[:found].copy(),
        sizes[:found].copy(),
        shared[:found].copy(),
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
        # An empty file can't be mapped.
        mapped = mmap(file.fileno(), 0, access=ACCESS_READ) if file.tell() else None
    return Sets(
        np.concatenate([np.empty(0, np.int64), *(part.rows for part in held)]),
        np.concatenate([np.empty(0, np.int32), *(part.sizes for part in held)]),
        np.concatenate([np.empty(0, np.int32), *(part.shared for part in held)]),
        np.concatenate([np.empty(0, np.int32), *(part.prefixes for part in held)]),
        np.concatenate([np.empty(0, np.uint64), *(part.last for part in held)]),
        np.frombuffer(mapped, np.uint32) if mapped is not None else _NO_VALUES,
        mapped,
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
    np.cumsum(sets.shared, out=starts[1:])
    elements = max(1, int(sets.prefixes.sum()))
    spans = np.zeros((1 << int(np.clip(np.ceil(np.log2(elements)) - 2, 8, 28)), 2), np.uint32)
    for turns in _turns(sets):
        _count_slots(spans, starts[turns], sets.prefixes[turns], sets.values)
    # Postings are the kept sets by the elements of their prefixes: where each slot's begin, and,
    # for now, end. Elements that share a slot cost time only.
    spans[1:, 0] = np.cumsum(spans[:-1, 1])
    spans[:, 1] = spans[:, 0]
    posted, posted_sizes = np.empty(elements, np.uint32), np.empty(elements, np.uint16)
    hits, touched = np.zeros(number, np.int32), np.empty(number, np.int32)
    for turns in _turns(sets):
        _stars(
            sets.sizes, sets.prefixes, sets.last, sets.values, order[turns], threshold,
            starts, place, spans, posted, posted_sizes, hits, touched, kept, similarity,
        )  # fmt: skip
    return kept, similarity


def _turns(sets: Sets) -> Iterator[slice]:
    """All sets, some at a time; what was read of their elements is let go after each time."""
    for first in range(0, len(sets.rows), _TURNS):
        yield slice(first, first + _TURNS)
        if sets.mapped is not None:
            sets.mapped.madvise(MADV_DONTNEED)


@numba.njit(cache=True, nogil=True)
def _count_slots(spans, starts, prefixes, values):  # type: ignore[no-untyped-def]
    shift = np.uint32(32 - int(np.log2(len(spans))))
    for k in range(len(prefixes)):
        for j in range(starts[k], starts[k] + prefixes[k]):
            spans[values[j] >> shift, 1] += np.uint32(1)


@numba.njit(cache=True, nogil=True)
def _stars(  # type: ignore[no-untyped-def]
    sizes, prefixes, last, values, order, threshold,
    starts, place, spans, posted, posted_sizes, hits, touched, kept, similarity,
):  # fmt: skip
    """Some turns of `stars`."""
    largest = 1
    for k in order:
        largest = max(largest, sizes[k])
    shift = np.uint32(32 - int(np.log2(len(spans))))
    slots = 4
    while slots < 4 * largest:
        slots *= 2
    mask = np.uint64(0)
    own = np.zeros(slots, np.uint64)  # turn + 1 and element, as a set: never cleared
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
