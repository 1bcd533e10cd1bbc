"""TF-IDF over the domain segmentation, stop words left out (SPEC D14).

    tf(term, text) = count, or 1 + ln(count); idf(term) = ln((1 + n) / (1 + df)) + 1

Rows have length 1. These are the formulas of scikit-learn's TfidfVectorizer (smooth_idf, l2). A
directory holds tfidf.json (terms, how texts are cut) and idf.safetensors; nothing is pickled.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from vertical_assets.features.words import Cutter, content_words
from vertical_assets.spec.features import TermWeights

VOCABULARY, WEIGHTS = "tfidf.json", "idf.safetensors"


@dataclass(frozen=True)
class Tfidf:
    """A vocabulary with the weight of each term.

    Attributes:
        terms: column -> term.
        idf: weight of each term, float32.
        documents: how many documents it was fitted on.
    """

    terms: tuple[str, ...]
    idf: NDArray[np.float32]
    documents: int
    cutter: Cutter
    sublinear: bool = False

    @classmethod
    def fit(cls, corpus: Iterable[list[str]], settings: TermWeights, cutter: Cutter) -> Self:
        """Counts the documents that each word is in.

        Args:
            corpus: words of every document, as `content_words` leaves them.
            settings: section `features.tfidf`.
            cutter: how the corpus was cut, for the texts that come later.

        Raises:
            ValueError: no word is in `min_documents` documents.
        """
        counts = Counter[str]()
        documents = 0
        for words in corpus:
            documents += 1
            counts.update(set(words))
        ranked = sorted(
            (term for term, count in counts.items() if count >= settings.min_documents),
            key=lambda term: (-counts[term], term),
        )
        if not ranked:
            raise ValueError(
                f"no word is in {settings.min_documents} of the {documents} documents; lower "
                "features.tfidf.min_documents"
            )
        terms = tuple(sorted(ranked[: settings.max_terms]))
        frequency = np.array([counts[term] for term in terms], np.float64)
        idf = np.log((1 + documents) / (1 + frequency)) + 1
        return cls(terms, idf.astype(np.float32), documents, cutter, settings.sublinear)

    def transform(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Weights, texts x terms, float32; a text without any known term is a row of zeros."""
        return self.transform_words(map(content_words, self.cutter.cut(texts)))

    def transform_words(self, texts: Iterable[list[str]]) -> sp.csr_matrix:
        """The same of texts that are cut already; stop words are not among the terms."""
        column = {term: number for number, term in enumerate(self.terms)}
        columns: list[int] = []
        values: list[int] = []
        ends = [0]
        for words in texts:
            found = Counter(column[word] for word in words if word in column)
            for place in sorted(found):
                columns.append(place)
                values.append(found[place])
            ends.append(len(columns))
        places = np.array(columns, np.int32)
        weights = np.array(values, np.float64)
        if self.sublinear:
            weights = 1 + np.log(weights)
        weights *= self.idf[places]
        rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        lengths = np.sqrt(np.bincount(rows, weights**2, minlength=len(ends) - 1))
        weights /= lengths[rows]
        return sp.csr_matrix(
            (weights.astype(np.float32), places, np.array(ends)),
            shape=(len(ends) - 1, len(self.terms)),
        )

    def save(self, path: Path) -> None:
        """Writes the directory's files."""
        path.mkdir(parents=True, exist_ok=True)
        described = {
            "documents": self.documents,
            "sublinear": self.sublinear,
            "cutter": self.cutter.as_json(),
            "terms": self.terms,
        }
        (path / VOCABULARY).write_text(json.dumps(described, ensure_ascii=False), "utf-8")
        save_file({"idf": self.idf}, path / WEIGHTS)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a directory that `save` wrote.

        Raises:
            FileNotFoundError: it holds no TF-IDF.
        """
        described = json.loads((path / VOCABULARY).read_text("utf-8"))
        return cls(
            tuple(described["terms"]),
            load_file(path / WEIGHTS)["idf"],
            described["documents"],
            Cutter.from_json(described["cutter"]),
            described["sublinear"],
        )


class GroupMeans:
    """Mean weights of groups of texts, in one pass, to tell what each group is about."""

    def __init__(self, terms: Sequence[str]) -> None:
        self.terms = terms
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._rows = Counter[str]()

    def add(self, weights: sp.csr_matrix, groups: Sequence[str]) -> None:
        """Adds texts x terms, and the group of each text."""
        names = np.array(groups)
        for group in sorted(set(groups)):
            rows = np.flatnonzero(names == group)
            total = np.asarray(weights[rows].sum(axis=0), np.float64).ravel()
            self._sums[group] = self._sums.get(group, 0) + total
            self._rows[group] += len(rows)

    def top(self, n: int = 10) -> dict[str, list[str]]:
        """Group -> the terms whose mean weight is furthest above that of all texts; of a single
        group, those of the greatest weight.
        """
        if not self._sums:
            return {}
        overall = sum(self._sums.values()) / self._rows.total()
        if len(self._sums) == 1:
            overall = np.zeros_like(overall)
        found: dict[str, list[str]] = {}
        for group in sorted(self._sums):
            gain = self._sums[group] / self._rows[group] - overall
            best = np.argsort(-gain, kind="stable")[:n]
            found[group] = [self.terms[place] for place in best if gain[place] > 0]
        return found
