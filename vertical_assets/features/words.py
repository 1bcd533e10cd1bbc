"""Words of the corpus and of new texts, cut in the same way (SPEC D9)."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.cleaning.segmentation import Segmenter, domain_terms
from vertical_assets.labels.splits import TEST, groups_of, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table

_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_NONE: frozenset[str] = frozenset()


def content_words(words: Iterable[str], stop_words: Collection[str] = _NONE) -> list[str]:
    """Lower case, without white space, signs and stop words; in order."""
    return [
        small
        for word in words
        if _LETTER_OR_DIGIT.search(word) and (small := word.lower()) not in stop_words
    ]


@dataclass(frozen=True)
class CorpusWords:
    """Words of every document of the corpus that is not in the test split; can be read again."""

    corpus: Table
    spec: VerticalSpec
    stop_words: Collection[str] = _NONE

    def __iter__(self) -> Iterator[list[str]]:
        for batch in self.corpus.batches(["words", "meta", "cluster_id"]):
            documents = pa.Table.from_batches([batch])
            groups = groups_of(documents, self.spec)
            for words, group in zip(batch["words"].to_pylist(), groups, strict=True):
                if split_of(group, self.spec) != TEST:
                    yield content_words(words, self.stop_words)


@dataclass(frozen=True)
class Cutter:
    """Cuts texts as the corpus was: by the segmenter with the domain's terms, or at spaces."""

    terms: frozenset[str]
    segment: bool = True

    @classmethod
    def of(cls, spec: VerticalSpec, data: UPath) -> Self:
        """As section `clean` says; `data` is the vertical's drop folder.

        Raises:
            SourceError: a dictionary can't be read.
        """
        return cls(domain_terms(spec.clean, data), spec.clean.segment)

    def cut(self, texts: Iterable[str]) -> list[list[str]]:
        """The words of each text, white space and signs included."""
        if not self.segment:
            return [text.split(" ") for text in texts]
        return [self._segmenter.segment(text) for text in texts]

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(self.terms)

    def as_json(self) -> dict[str, Any]:
        return {"terms": sorted(self.terms), "segment": self.segment}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(frozenset(values["terms"]), values["segment"])
