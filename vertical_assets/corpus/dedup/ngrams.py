"""From texts in Arrow to sets of n-gram hashes, compiled: no Python object per text or n-gram.

Texts are normalised as `normalize` does it, but by a table over code points. NFKC of a text is the
NFKC of its characters, one by one, unless characters combine; texts with such characters take the
way through Python (Unicode Standard Annex 15, section 9).
"""

import functools
import re
import unicodedata
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vertical_assets.corpus.splitmix import mix

UNITS = ("character", "word", "script")
_SPACES = re.compile(r"\s+")
_TABLE = 0x20000  # code points of the table; above are ideographs and emoji, nearly all themselves
_COMPATIBILITY = (0x2F800, 0x2FA20)  # the ones above that are not
_SLOW = 0xFFFFFFFF  # in the table: only Python's NFKC knows
_SEVERAL = 1 << 24  # in the table: count * _SEVERAL + place in the list of expansions


def normalize(text: str) -> str:
    """What two equal texts have in common: NFKC, case folded, runs of white space as one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


@dataclass(frozen=True)
class Points:
    """Normalised texts as code points: text i is `values[starts[i]:ends[i]]`."""

    values: NDArray[np.uint32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class Ngrams:
    """Digest of each text (two words), and the distinct 32-bit hashes of its n-grams.

    Text i owns `values[offsets[i]:offsets[i + 1]]`, in the order of first occurrence.
    """

    digests: NDArray[np.uint64]
    values: NDArray[np.uint32]
    offsets: NDArray[np.int64]


def code_points(texts: pa.Array) -> Points:
    """Normalises an Arrow array of strings without nulls; equal to `normalize`."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
    raw = np.frombuffer(data or b"", np.uint8)
    values, starts, stops, slow = _normalize(raw, ends, *_tables())
    if slow.any():
        rows = np.flatnonzero(slow)
        plain = [normalize(text) for text in texts.take(pa.array(rows)).to_pylist()]
        sizes = np.fromiter(map(len, plain), np.int64, len(plain))
        stops[rows] = len(values) + np.cumsum(sizes)
        starts[rows] = stops[rows] - sizes
        values = np.concatenate(
            (values, np.frombuffer("".join(plain).encode("utf-32-le"), np.uint32))
        )
    return Points(values, starts, stops)


def hash_ngrams(points: Points, ngram: int, unit: str) -> Ngrams:
    """Hashes every n-gram of units; a text shorter than n is one n-gram.

    Units are characters, words (between spaces), or by script: characters of scripts without
    spaces, words of the others. Three letters say little, three ideographs much.

    A hash has 32 bits: two of the n-grams of a pair with u different ones meet with probability
    u^2 / 2^33 (1 in 100,000 for u = 300), which moves their similarity by 1 / u.
    """
    return Ngrams(
        *_hash_ngrams(points.values, points.starts, points.ends, ngram, UNITS.index(unit))
    )


@functools.cache
def _tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    seconds = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # Hangul vowels, final consonants
    for point in range(_TABLE):
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            seconds.add(int(parts[1], 16))
    table = np.arange(_TABLE, dtype=np.uint32)
    several: list[int] = []
    for point in range(0x80, _TABLE):
        if 0xD800 <= point < 0xE000:
            continue  # surrogates are no characters
        wide = unicodedata.normalize("NFKC", chr(point))
        folded = [32 if char.isspace() else ord(char) for char in wide.casefold()]
        combines = any(unicodedata.combining(char) or ord(char) in seconds for char in wide)
        if combines or len(folded) > len(chr(point).encode()):
            table[point] = _SLOW
        elif len(folded) == 1:
            table[point] = folded[0]
        else:
            table[point] = len(folded) * _SEVERAL + len(several)
            several += folded
    for point in range(0x80):
        char = chr(point).casefold()
        table[point] = 32 if char.isspace() else ord(char)
    return table, np.array(several, np.uint32)


@numba.njit(cache=True, nogil=True)
def _normalize(raw, offsets, table, several):  # type: ignore[no-untyped-def]
    documents = len(offsets) - 1
    # An expansion is never longer than its character's bytes.
    values = np.empty(offsets[documents] - offsets[0], np.uint32)
    starts = np.empty(documents, np.int64)
    ends = np.empty(documents, np.int64)
    slow = np.zeros(documents, np.bool_)
    filled = 0
    for i in range(documents):
        starts[i] = filled
        spaced = True  # leading white space goes
        k, end = offsets[i], offsets[i + 1]
        while k < end:
            point = np.uint32(raw[k])
            if point < 0x80:
                k += 1
            elif point < 0xE0:
                point = (point & 0x1F) << 6 | raw[k + 1] & 0x3F
                k += 2
            elif point < 0xF0:
                point = (point & 0x0F) << 12 | (raw[k + 1] & 0x3F) << 6 | raw[k + 2] & 0x3F
                k += 3
            else:
                point = (
                    (point & 0x07) << 18
                    | (raw[k + 1] & 0x3F) << 12
                    | (raw[k + 2] & 0x3F) << 6
                    | raw[k + 3] & 0x3F
                )
                k += 4
            if point < _TABLE:
                found = table[point]
            elif _COMPATIBILITY[0] <= point < _COMPATIBILITY[1]:
                found = np.uint32(_SLOW)
            else:
                found = np.uint32(point)
            if found < _SEVERAL:
                if found != 32 or not spaced:
                    values[filled] = found
                    filled += 1
                spaced = found == 32
            elif found == _SLOW:
                slow[i] = True
                filled = starts[i]
                break
            else:
                place = found & (_SEVERAL - 1)
                for m in range(place, place + (found >> 24)):
                    if several[m] != 32 or not spaced:
                        values[filled] = several[m]
                        filled += 1
                    spaced = several[m] == 32
        if filled > starts[i] and values[filled - 1] == 32:
            filled -= 1
        ends[i] = filled
    return values[:filled], starts, ends, slow


@numba.njit(cache=True, nogil=True, inline="always")
def _unspaced(point):  # type: ignore[no-untyped-def]
    """Whether the code point's script has no spaces between words (Unicode 17, Blocks.txt)."""
    if point < 0x0E00:
        return False
    return (
        0x3000 <= point < 0xA000  # symbols, kana, ideographs
        or 0x20000 <= point < 0x40000
        or 0xF900 <= point < 0xFB00
        or point < 0x0F00  # Thai, Lao
        or 0x1000 <= point < 0x10A0  # Burmese
        or 0x1780 <= point < 0x1800  # Khmer
    )


@numba.njit(cache=True, nogil=True)
def _hash_ngrams(points, starts, ends, ngram, unit):  # type: ignore[no-untyped-def]
    documents = len(starts)
    base = np.uint64(0x9E3779B97F4A7C15)  # of the rolling polynomial; the golden ratio
    spread = np.uint64(0xD6E8FEB86659FD93)
    leaving = np.uint64(1)
    for _ in range(ngram):
        leaving *= base
    longest, total = 0, 0
    for i in range(documents):
        longest = max(longest, ends[i] - starts[i])
        total += ends[i] - starts[i]
    slots = 4
    while slots < 4 * longest:
        slots *= 2
    seen = np.zeros(slots, np.uint64)  # document + 1 and hash: nothing to clear between documents
    units = np.empty(longest + 1, np.uint64)
    digests = np.empty((documents, 2), np.uint64)
    values = np.empty(total, np.uint32)
    offsets = np.zeros(documents + 1, np.int64)
    filled = 0
    for i in range(documents):
        one, two = np.uint64(1), np.uint64(2)
        start, end = starts[i], ends[i]
        for j in range(start, end, 3):  # three code points of 21 bits fill a word
            packed = np.uint64(points[j])
            if j + 1 < end:
                packed |= np.uint64(points[j + 1]) << np.uint64(21)
            if j + 2 < end:
                packed |= np.uint64(points[j + 2]) << np.uint64(42)
            one = mix(one ^ packed)
            two = mix(two * base + packed)
        length = np.uint64(end - start)
        digests[i, 0], digests[i, 1] = mix(one + length), mix(two + length)

        size = 0
        if unit == 0:
            for j in range(start, end):
                units[size] = points[j]
                size += 1
        else:
            word = np.uint64(0)
            for j in range(start, end):
                point = points[j]
                alone = unit == 2 and _unspaced(point)
                if point != 32 and not alone:
                    word = mix(word + np.uint64(point) + np.uint64(1))
                    continue
                if word:
                    units[size] = word
                    size += 1
                    word = np.uint64(0)
                if alone:
                    units[size] = point
                    size += 1
            if word:
                units[size] = word
                size += 1
        slots = 4
        while slots < 4 * size:
            slots *= 2
        mask = np.uint64(slots - 1)
        stamp = np.uint64(i + 1) << np.uint64(32)
        width = min(ngram, size)
        rolling = np.uint64(0)
        for j in range(size):
            rolling = rolling * base + units[j]
            if j >= ngram:
                rolling -= leaving * units[j - ngram]
            if j >= width - 1:
                value = ((rolling ^ (rolling >> np.uint64(32))) * spread) >> np.uint64(32)
                slot, entry = value & mask, stamp | value
                while stamp <= seen[slot] != entry:
                    slot = (slot + np.uint64(1)) & mask
                if seen[slot] != entry:
                    seen[slot] = entry
                    values[filled] = value
                    filled += 1
        offsets[i + 1] = filled
    return digests, values[:filled], offsets


@numba.njit(cache=True, nogil=True)
def first_with_digest(digests, order):  # type: ignore[no-untyped-def]
    """For each row, the first one in this order with the same digest (two words a row)."""
    slots = 1
    while slots < 2 * len(order):
        slots *= 2
    mask = np.uint64(slots - 1)
    held = np.full(slots, -1, np.int64)
    first = np.empty(len(order), np.int64)
    for row in order:
        slot = digests[row, 0] & mask
        while held[slot] >= 0 and (
            digests[held[slot], 0] != digests[row, 0] or digests[held[slot], 1] != digests[row, 1]
        ):
            slot = (slot + np.uint64(1)) & mask
        if held[slot] < 0:
            held[slot] = row
        first[row] = held[slot]
    return first
