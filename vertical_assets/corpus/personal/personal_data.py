"""Personal data in texts: what it is, and where it stands (SPEC X1).

Recognisers are regular expressions with checks, as Presidio's pattern recognisers are, but run
without it: importing `presidio_analyzer` takes 7 s and 430 MB (its engines load torch and
transformers), its analyzer read 250 to 290 short texts a second where this module read 3,400 to
5,500, and its PatternRecognizer, without checks, 1,200 to 1,900 with these very expressions
(two busy cores; `benchmarks/deidentify.py` measures all three).

Not claimed: names without a title, a label or a dictionary; places without a house number;
passports, accounts and record numbers without a word that says what they are; numbers of
organisations (unified social credit code).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.personal.personal_names import ADDRESSES, NAMES
from vertical_assets.corpus.personal.personal_numbers import NUMBERS
from vertical_assets.corpus.personal.recognizer import Recognizer, Span, fold

TYPES = {
    "ID_CARD": "Chinese resident identity number, 18 digits with a valid check character and birth "
    "date (GB 11643), or 15 digits after a word that says so",
    "PHONE": "Mobile and landline phone, 400 and 800 numbers, valid numbers of the US and the UK, "
    "any valid number that begins with +, any number after a word such as 电话 or fax",
    "BANK_CARD": "Bank card: 12 to 19 digits that pass Luhn's check, of a known issuer or after a "
    "word such as 卡号",
    "EMAIL": "E-mail address",
    "IP": "IPv4 or IPv6 address of one host",
    "URL": "Web address that carries a user's id, name, phone or mail",
    "PLATE": "Chinese licence plate, new energy included (GA 36)",
    "PASSPORT": "Passport or travel permit after a word that says so",
    "MRN": "Medical record, admission or outpatient number after a word that says so",
    "INSURANCE": "Number of a health or social insurance or a policy after a word that says so",
    "SSN": "US social security number after a word that says so",
    "ACCOUNT": "WeChat or QQ id after a word that says so",
    "BIRTH_DATE": "Date of birth",
    "ADDRESS": "Street address with a house number, or what follows 地址",
    "NAME": "Person's name with a title or a label, or out of the vertical's lists of names",
}
# Of two findings of one length the more telling word of context wins.
_RANK = {
    entity: rank
    for rank, entity in enumerate(
        ("ID_CARD", "MRN", "INSURANCE", "SSN", "PASSPORT", "ACCOUNT", "BIRTH_DATE", "URL")
    )
}


class Finder(Protocol):
    """Something that tells where personal data of one type stands in a folded text."""

    @property
    def entity(self) -> str: ...

    def spans(self, text: str) -> list[Span]: ...


@dataclass(frozen=True)
class Found:
    """Personal data in a text: type, offsets in characters, and the text between, folded."""

    entity: str
    start: int
    end: int
    value: str


class PersonalData:
    """All recognisers of a vertical."""

    def __init__(self, entities: Iterable[str] = (), names: Sequence[str] = ()) -> None:
        """
        Args:
            entities: types that are looked for; all TYPES where empty.
            names: people's names that are found wherever they stand (whole words in Latin script).

        Raises:
            ValueError: an unknown type, or a name of one character.
        """
        wanted = set(entities) or set(TYPES)
        if unknown := wanted - set(TYPES):
            raise ValueError(
                f"deidentify.entities: {', '.join(sorted(unknown))} unknown; "
                f"known are {', '.join(TYPES)}"
            )
        self.recognizers = tuple(
            each for each in (*NUMBERS, *NAMES, *ADDRESSES) if each.entity in wanted
        )
        stripped = [name.strip() for name in names]
        if short := next((name for name in stripped if len(name) == 1), None):
            raise ValueError(
                f"deidentify.names: {short!r} has one character and would be found everywhere; "
                "list whole names"
            )
        listed = [name for name in stripped if name] if "NAME" in wanted else []
        self.names = ListedNames(listed) if listed else None

    @cached_property
    def _groups(self) -> list[tuple[str, list[Recognizer]]]:
        """RE2 expressions that any text with personal data matches, and the recognisers of each.

        One expression for all outgrows RE2's cache of states and is eight times slower; so do
        Chinese and English words together.
        """
        groups: dict[tuple[str, bool], list[Recognizer]] = {}
        for each in self.recognizers:
            chinese = any("一" <= character <= "龥" for character in each.body)
            groups.setdefault((each.group, chinese), []).append(each)
        return [
            ("|".join(f"(?:{each.body})" for each in members), members)
            for members in groups.values()
        ]

    def candidates(self, folded: pa.StringArray) -> dict[int, list[Finder]]:
        """Row -> the recognisers that may find something in it; most rows are left out."""
        rows: dict[int, list[Finder]] = {}
        for expression, members in self._groups:
            some = _matching(folded, expression)
            subset = folded.take(some)
            for each in members:
                for row in some[_matching(subset, each.body)]:
                    rows.setdefault(int(row), []).append(each)
        if self.names:
            for row, text in enumerate(folded.to_pylist()):
                if self.names.spans(text):
                    rows.setdefault(row, []).append(self.names)
        return rows

    def find(self, folded: str, finders: Iterable[Finder] | None = None) -> list[Found]:
        """What is personal in a folded text, in order, without overlap.

        Where findings overlap the longest wins. The search goes on, with what was found taken out,
        until it finds nothing: so nothing comes to light when the findings are replaced.
        """
        if finders is None:
            finders = [*self.recognizers, *([self.names] if self.names else [])]
        active = list(finders)
        found: list[Found] = []
        text = folded
        while True:
            spans = [(each, start, end) for each in active for start, end in each.spans(text)]
            if not spans:
                return sorted(found, key=lambda each: each.start)
            spans.sort(key=lambda s: (s[1] - s[2], _RANK.get(s[0].entity, len(_RANK)), s[1]))
            taken: list[tuple[int, int]] = []
            for each, start, end in spans:
                if all(end <= first or start >= last for first, last in taken):
                    taken.append((start, end))
                    found.append(Found(each.entity, start, end, folded[start:end]))
            for start, end in taken:
                # Brackets, as a pseudonym's ends: no recogniser reads across them.
                text = text[:start] + "[" * (end - start) + text[end:]


class ListedNames:
    """Finds names of a list wherever they stand, in one pass for any number of names.

    A name in Latin script is a whole word. One of several words is found in any letter case; one of
    a single word, which may be a word of the language too, as it is listed and in capitals.
    """

    entity = "NAME"

    def __init__(self, names: Sequence[str]) -> None:
        from ahocorasick_rs import AhoCorasick, MatchKind

        self.names = tuple(sorted(set(fold(pa.array(names)).to_pylist())))
        listed: dict[str, set[str]] = {}
        for name in self.names:
            listed.setdefault(_lower(name), set()).update((name, name.upper()))
        self._written = list(listed.values())
        # Overlapping, since the longest may be no whole word.
        self._automaton = AhoCorasick(list(listed), matchkind=MatchKind.Standard)

    def spans(self, text: str) -> list[Span]:
        """Where they stand: leftmost, of those the longest, not overlapping."""
        found = [
            (start, end)
            for number, start, end in self._automaton.find_matches_as_indexes(
                _lower(text), overlapping=True
            )
            if _whole(text, start, end)
            and (" " in text[start:end] or text[start:end] in self._written[number])
        ]
        spans: list[Span] = []
        for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
            if not spans or start >= spans[-1][1]:
                spans.append((start, end))
        return spans


def _lower(text: str) -> str:
    """In small letters, character by character, so that places stay."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _matching(texts: pa.Array, expression: str) -> NDArray[np.int64]:
    return np.flatnonzero(pc.match_substring_regex(texts, expression))


def _whole(text: str, start: int, end: int) -> bool:
    """A name in Latin script is a whole word."""

    def latin(place: int) -> bool:
        return 0 <= place < len(text) and text[place].isascii() and text[place].isalnum()

    return not (latin(start) and latin(start - 1)) and not (latin(end - 1) and latin(end))
