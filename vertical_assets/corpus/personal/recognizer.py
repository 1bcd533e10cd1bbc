"""A recogniser: a regular expression with what must stand around it and what must hold for it.

Texts are folded first, character by character, so that offsets stay those of the original:
１３８, 138 and 一三八 are one number to a recogniser, 張 and 张 one surname.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Span = tuple[int, int]
READ_OUT = 7
_HAN_DIGITS = dict(zip(map(ord, "零〇一二三四五六七八九幺"), map(ord, "001234567891"), strict=True))


@dataclass(frozen=True)
class Recognizer:
    """What one kind of personal data looks like in a folded text.

    `body` is written in the dialect that Python and RE2 share and matches what is consumed;
    `before` and `after` are Python's look-around. So a text in which RE2 finds no `body` can hold
    no match, whatever stands around: that is the pre-filter.
    """

    entity: str
    body: str
    before: str = ""
    after: str = ""
    group: str = "numbers"  # bodies of one group and script are looked for in one RE2 expression
    accept: Callable[[re.Match[str]], Span | None] | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The whole expression."""
        return re.compile(f"{self.before}(?:{self.body}){self.after}")

    def spans(self, text: str) -> list[Span]:
        """Where the personal data stands: the group `v` where the body has one."""
        found = []
        for match in self.pattern.finditer(text):
            span = self.accept(match) if self.accept else value_span(match)
            if span:
                found.append(span)
        return found


def value_span(match: re.Match[str]) -> Span:
    """The part of a match that is personal; the rest is its context."""
    return match.span("v" if "v" in match.re.groupindex else 0)


def valid(check: Callable[[str], bool]) -> Callable[[re.Match[str]], Span | None]:
    """Accepts a match whose personal part passes a check."""

    def accept(match: re.Match[str]) -> Span | None:
        start, end = value_span(match)
        return (start, end) if check(match.string[start:end]) else None

    return accept


@lru_cache(maxsize=1)
def _folded() -> NDArray[np.uint32]:
    """For every code point the one it is read as.

    NFKC where that is one character (full width, circled and mathematical digits), every dash a
    hyphen, invisible characters and spaces a space, traditional Chinese simplified (OpenCC t2s).
    """
    import unicodedata

    import opencc

    table = np.arange(0x110000, dtype=np.uint32)
    for code in (*range(0xA0, 0x3400), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800)):
        character = chr(code)
        if unicodedata.category(character) in ("Cf", "Zs"):
            table[code] = 0x20
        elif unicodedata.category(character) == "Pd":
            table[code] = ord("-")
        elif len(normal := unicodedata.normalize("NFKC", character)) == 1:
            table[code] = ord(normal)
    for code in (0x2212, 0xFF0D, 0xFE63):  # minus signs
        table[code] = ord("-")
    for character in "•‧・･":
        table[ord(character)] = ord("·")
    table[0x09] = 0x20
    han = range(0x3400, 0xA000)
    simplified = opencc.OpenCC("t2s").convert("\n".join(map(chr, han))).split("\n")
    for code, character in zip(han, simplified, strict=True):
        if len(character) == 1:
            table[code] = ord(character)
    return table


def fold(texts: pa.Array) -> pa.StringArray:
    """Each text as recognisers read it, of the same length in characters; null as blank."""
    texts = pc.fill_null(texts.cast(pa.string()), "")
    if not len(texts):
        return texts
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    joined = bytes(data)[bounds[0] : bounds[-1]] if data else b""
    points = _folded()[np.frombuffer(joined.decode().encode("utf-32-le"), np.uint32)]
    starts = np.concatenate(([0], np.cumsum(pc.utf8_length(texts).to_numpy())))
    _fold_read_out(points, starts)
    widths = 1 + (points >= 0x80).astype(np.int32) + (points >= 0x800) + (points >= 0x10000)
    places = np.concatenate(([0], np.cumsum(widths)))[starts].astype(np.int32)
    encoded = points.tobytes().decode("utf-32-le").encode()
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(places), pa.py_buffer(encoded))


def _fold_read_out(points: NDArray[np.uint32], starts: NDArray[np.int64]) -> None:
    """Writes 0 to 9 for Chinese digits where seven or more stand together in one text, in place.

    A year has four of them, so that only numbers that are read out digit by digit are meant.
    """
    chinese = np.isin(points, list(_HAN_DIGITS))
    edges = np.flatnonzero(np.diff(chinese, prepend=False, append=False)).reshape(-1, 2)
    for start, end in edges[edges[:, 1] - edges[:, 0] >= READ_OUT]:
        inside = starts[np.searchsorted(starts, start, "right") : np.searchsorted(starts, end)]
        cuts = [start, *inside, end]
        for first, last in pairwise(cuts):
            if last - first >= READ_OUT:
                points[first:last] = [_HAN_DIGITS[int(point)] for point in points[first:last]]
