"""Where the domain's terms stand in a text, and which tokens belong to one.

Occurrences are leftmost, of those the longest, not overlapping, letter case aside (Aho and
Corasick, "Efficient string matching", 1975). Where a term begins or ends with a letter or digit of
a script that puts spaces between words, no such letter or digit may stand beside it: `ECG` is not
in `ECGs`, nor `维生素B1` in `维生素B12`.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

# Scripts without spaces between words: Thai to Myanmar, Khmer, Chinese, Japanese, Yi, full-width.
EAST = "\u0e00-\u109f\u1780-\u17ff\u2e80-\uabff\uf900-\ufaff\uff00-\U0010ffff"
LETTER = rf"[^\W_{EAST}]"
_HAS_LETTER = re.compile(LETTER)

PADDING, OF_NO_TERM, OF_A_TERM = 0, 1, 2  # what an attention mask says of a token


class Terms:
    """A compiled list of terms; blank ones are left out."""

    def __init__(self, terms: Iterable[str]) -> None:
        from ahocorasick_rs import AhoCorasick

        folded = sorted({_fold(term) for term in terms if term.strip()})
        # Chinese terms, the most by far, need no look at what stands beside them.
        self._spelled = bytes(map(_spelled, folded))
        self._finder = AhoCorasick(folded, store_patterns=False) if folded else None

    def __bool__(self) -> bool:
        """Whether there is any term."""
        return self._finder is not None

    def occurrences(self, text: str) -> list[tuple[int, int]]:
        """Start and end of the terms in a text: leftmost-longest, in order, not overlapping."""
        if self._finder is None:
            return []
        found = self._finder.find_matches_as_indexes(_fold(text), overlapping=True)
        if len(found) > 1:
            found.sort(key=_leftmost_longest)
        spans: list[tuple[int, int]] = []
        done = 0
        for term, start, end in found:
            if start < done or (
                self._spelled[term] and (_inside_word(text, start) or _inside_word(text, end))
            ):
                continue
            spans.append((start, end))
            done = end
        return spans


def keyword_mask(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Which tokens of a text share a character with a term: 2 for those, 1 for the others.

    Args:
        offsets: start and end of each token in the text, as tokenizers give them; empty (start
            equal to end) for special tokens, which belong to no term.
        spans: start and end of the terms, in order and not overlapping (`Terms.occurrences`).
    """
    if not spans:
        return np.full(len(offsets), OF_NO_TERM)
    starts, ends = np.asarray(offsets, np.int64).reshape(-1, 2).T
    span_starts, span_ends = np.asarray(spans, np.int64).T
    # The first term that ends behind the token's start is the only one that it may begin in.
    first = np.searchsorted(span_ends, starts, side="right")
    begins = np.append(span_starts, np.iinfo(np.int64).max)[first]
    return np.where((begins < ends) & (starts < ends), OF_A_TERM, OF_NO_TERM)


def _leftmost_longest(match: tuple[int, int, int]) -> tuple[int, int]:
    return match[1], -match[2]


def _spelled(term: str) -> bool:
    """Whether it begins or ends with a letter or digit of a script with spaces."""
    return bool(_HAS_LETTER.match(term) or _HAS_LETTER.match(term[-1]))


def _fold(text: str) -> str:
    """Lower case, character by character: `İ` and its like, which would be two, stay."""
    folded = text.lower()
    if len(folded) == len(text):
        return folded
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


def _inside_word(text: str, place: int) -> bool:
    """Whether letters or digits of a script with spaces stand on both sides."""
    around = text[max(place - 1, 0) : place + 1]
    return len(around) == 2 and len(_HAS_LETTER.findall(around)) == 2
