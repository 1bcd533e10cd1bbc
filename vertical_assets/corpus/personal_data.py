"""Personal data in texts: what it is, and where it stands (SPEC X1).

Recognisers are compiled regular expressions with checks, in the manner of Presidio's pattern
recognisers but without its engine: importing `presidio_analyzer` takes 8 s and 430 MB (its NLP
engines load torch and transformers), and its analyzer reads a few hundred texts a second;
`benchmarks/deidentify.py` measures both side by side.

Not claimed: names without a title, a label or a dictionary; places without a house number;
passports, accounts and record numbers without a word that says what they are; numbers of
organisations (unified social credit code).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.personal_names import ADDRESSES, NAMES
from vertical_assets.corpus.personal_numbers import NUMBERS
from vertical_assets.corpus.recognizer import Recognizer, fold

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
        ("ID_CARD", "MRN", "INSURANCE", "SSN", "PASSPORT", "BIRTH_DATE", "BANK_CARD", "URL")
    )
}


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
        self.names = tuple(name for name in stripped if name) if "NAME" in wanted else ()

    @cached_property
    def _groups(self) -> dict[str, tuple[str, list[Recognizer]]]:
        """Group -> RE2 expression of all bodies in it, and its recognisers."""
        groups: dict[str, list[Recognizer]] = {}
        for each in self.recognizers:
            groups.setdefault(each.group, []).append(each)
        return {
            name: ("|".join(f"(?:{each.body})" for each in members), members)
            for name, members in groups.items()
        }

    @cached_property
    def _dictionary(self) -> Any:
        """Aho-Corasick automaton of the names, folded as texts are."""
        from ahocorasick_rs import AhoCorasick, MatchKind

        return AhoCorasick(
            sorted(set(fold(pa.array(self.names)))), matchkind=MatchKind.LeftmostLongest
        )

    def candidates(self, folded: list[str]) -> dict[str, NDArray[np.bool_]]:
        """Group -> which texts can hold anything that its recognisers find."""
        texts = pa.array(folded, pa.string())
        masks = {
            name: pc.match_substring_regex(texts, expression).to_numpy(zero_copy_only=False)
            for name, (expression, _) in self._groups.items()
        }
        if self.names:
            masks["dictionary"] = np.fromiter(
                (bool(self._dictionary.find_matches_as_indexes(text)) for text in folded),
                bool,
                len(folded),
            )
        return masks

    def find(self, folded: str, groups: Iterable[str] | None = None) -> list[Found]:
        """What is personal in a folded text, in order, without overlap.

        Where findings overlap the longest wins. The search goes on, with what was found taken out,
        until it finds nothing: so nothing comes to light when the findings are replaced.
        """
        active = [*self._groups, "dictionary"] if groups is None else list(groups)
        found: list[Found] = []
        text = folded
        while spans := self._spans(text, active):
            spans.sort(key=lambda span: (span[1] - span[2], _RANK.get(span[0], 99), span[1]))
            taken: list[tuple[str, int, int]] = []
            for entity, start, end in spans:
                if all(end <= other[1] or start >= other[2] for other in taken):
                    taken.append((entity, start, end))
            for entity, start, end in taken:
                found.append(Found(entity, start, end, folded[start:end]))
                # Brackets, as a pseudonym's ends: no recogniser reads across them.
                text = text[:start] + "[" * (end - start) + text[end:]
        return sorted(found, key=lambda each: each.start)

    def _spans(self, text: str, active: list[str]) -> list[tuple[str, int, int]]:
        spans = [
            (each.entity, start, end)
            for name in active
            if name in self._groups
            for each in self._groups[name][1]
            for start, end in each.spans(text)
        ]
        if self.names and "dictionary" in active:
            spans += [
                ("NAME", start, end)
                for _, start, end in self._dictionary.find_matches_as_indexes(text)
                if _whole(text, start, end)
            ]
        return spans


def _whole(text: str, start: int, end: int) -> bool:
    """A name in Latin script is a whole word."""

    def latin(place: int) -> bool:
        return 0 <= place < len(text) and text[place].isascii() and text[place].isalnum()

    return not (latin(start) and latin(start - 1)) and not (latin(end - 1) and latin(end))
