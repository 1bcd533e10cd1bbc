"""Numbers in texts are written one way (SPEC D10); words that only contain numerals stay.

100万 becomes 1000000, 1,000,000 or 1e6; 百分之二十 becomes 20%; 二〇二四年五月一日 becomes
2024年5月1日. A numeral is left alone wherever a dictionary word says that it is none (一心一意,
万一), where it is part of a code (E11.9, B12), and where its value is in doubt: precision before
recall. What stays by policy: a single 一 before a measure word (一个), a single digit without one
(三国), vague numbers (几十, 数百, 一两个), English number words, and plain strings of Arabic digits
that may be years, telephones or ids: they are only grouped before a measure word of quantity or
after a currency sign.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.corpus.cleaning.numeral_context import CURRENCY, NUMBERED, TOKEN, Found
from vertical_assets.corpus.cleaning.numeral_words import PLACES, QUANTITIES, in_word, numeric_terms
from vertical_assets.corpus.cleaning.numerals import CHARACTERS, Policy


class Change(NamedTuple):
    """One replacement: `original` is `text[start:end]` of the text that was given."""

    start: int
    end: int
    original: str
    written: str


_FULL_WIDTH = str.maketrans("０１２３４５６７８９．～－", "0123456789.~-")
_REACH = 4  # characters around a number that may change its reading
_FULL = re.compile("[０-９]")

_FIRSTS = "".join(sorted({unit[0] for unit in f"{QUANTITIES}|{PLACES}".split("|")}))
_MORE = "|".join(["分之", "[到至~\\-—或]", " to ", " or ", ".{0,2}半"])
# What must follow a single digit, and a plain Arabic number under `digits`, for it to change.
_AFTER_SINGLE = re.compile(rf"{_MORE}|[{_FIRSTS}度又多余来]")
_AFTER_PLAIN = re.compile(rf"{_MORE}|[块米]")
_PLAIN = re.compile(r"[0-9.]+")
# A superset of what the rules below may change, in RE2 (no look-around).
_HAN = CHARACTERS
_ANY = rf"[{_HAN}0-9０-９]"
_LATER = _HAN.replace("一", "")
_PARTS = "".join(sorted({part[0] for part in NUMBERED}))
_LIKELY = "|".join(
    [
        rf"[{re.sub('[一百千万亿十]', '', _HAN)}][{_HAN}点{_FIRSTS}度到至~—多余来-]",
        rf"十(?:[{_HAN}点{_FIRSTS.replace('分', '')}度到至~—多余来-]|分[钟之])",
        rf"一(?:[{_HAN}到至~—-]|点[半钟整{_HAN}]|月[份0-9{_HAN}]|[块米]{_ANY})",
        "[年月]一[月日号]|[到至~—-](?:一|十分)",
        rf"第(?:[{_LATER}]|一[{_HAN}{_PARTS}])",
        rf"{_ANY}(?:分之|.{{0,2}}半)|(?:负|零下){_ANY}",
        rf"[0-9０-９](?: ?[十百千万亿萬億]|[块米点]{_ANY}|,[0-9]{{3}})",
        r"(?i:[0-9０-９] (?:hundred|thousand|million|billion|trillion))",
    ]
)
_GROUPABLE = (
    rf"[0-9０-９]{{4}}(?:\.[0-9]+)? ?[A-Za-z{_FIRSTS}]|[{''.join(CURRENCY)}] ?[0-9０-９]{{4}}"
)


def normalize_numbers(
    text: str, policy: Policy, protected: frozenset[str] = frozenset()
) -> tuple[str, list[Change]]:
    """The text with its numbers written by the policy, and what was replaced, in order.

    `protected` holds terms that are never touched, e.g. those of the domain dictionaries. Offsets
    count characters of the given text. Doing it twice changes nothing more.
    """
    if policy == "keep":
        return text, []
    terms = numeric_terms(protected)
    changes = list(_changes(text, policy, terms))
    while changes:
        written, places = _rewrite(text, changes)
        again = list(_changes(written, policy, terms))
        if not again:
            return written, changes
        # The new writing reads differently with its neighbours: in doubt they stay as they were.
        sure = [
            change
            for change, (start, end) in zip(changes, places, strict=True)
            if all(end < more.start - _REACH or start > more.end + _REACH for more in again)
        ]
        changes = sure if len(sure) < len(changes) else []
    return text, []


def normalize_batch(
    texts: pa.Array, policy: Policy, protected: frozenset[str] = frozenset()
) -> tuple[pa.Array, list[list[Change]]]:
    """`normalize_numbers` of every text (string, nulls stay); rows that cannot change cost next to
    nothing. Returns the texts and one list of changes a row.
    """
    rows: list[list[Change]] = [[] for _ in range(len(texts))]
    if policy == "keep":
        return texts, rows
    pattern = _LIKELY if policy == "digits" else f"{_LIKELY}|{_GROUPABLE}"
    likely = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
    indices = pc.indices_nonzero(likely)
    changed, replaced = [False] * len(texts), []
    for index, text in zip(indices.to_pylist(), texts.filter(likely).to_pylist(), strict=True):
        written, rows[index] = normalize_numbers(text, policy, protected)
        if rows[index]:
            changed[index] = True
            replaced.append(written)
    mask = pa.array(changed, pa.bool_())
    return pc.replace_with_mask(texts, mask, pa.array(replaced, texts.type)), rows


def _rewrite(text: str, changes: list[Change]) -> tuple[str, list[tuple[int, int]]]:
    """The text with all changes made, and where each then stands."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    place = length = 0
    for change in changes:
        length += change.start - place
        parts += (text[place : change.start], change.written)
        places.append((length, length + len(change.written)))
        length, place = length + len(change.written), change.end
    return "".join(parts) + text[place:], places


def _changes(text: str, policy: Policy, protected: frozenset[str]) -> Iterator[Change]:
    """Every number that is to be written differently, in order; none overlap."""
    view = text.translate(_FULL_WIDTH) if _FULL.search(text) else text
    place = 0
    while token := TOKEN.search(view, place):
        place = token.end()
        run = token["run"]
        if run is None:
            continue
        if not token["sign"] and not token["nth"]:  # most need no closer look
            if len(run) == 1 and run in CHARACTERS and not _AFTER_SINGLE.match(view, place):
                continue
            plain = policy == "digits" and _PLAIN.fullmatch(run)
            if plain and not _AFTER_PLAIN.match(view, place):
                continue
        found = Found(view, token, policy)
        written = found.written()
        place = found.end
        if written in (None, view[found.start : found.end]):
            continue
        if not any(in_word(view, part, whole, protected) for part, whole in found.numerals()):
            yield Change(found.start, found.end, text[found.start : found.end], written)
