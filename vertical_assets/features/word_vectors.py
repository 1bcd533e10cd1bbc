"""Word vectors: Word2Vec on the domain's words, so that its terms have vectors (SPEC D13).

Skip-gram with negative sampling (Mikolov et al., "Distributed Representations of Words and
Phrases and their Compositionality", 2013) by gensim. A directory holds words.json (words, how
texts are cut) and vectors.safetensors.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from vertical_assets.features.words import Cutter, content_words
from vertical_assets.spec.features import WordEmbeddings

VOCABULARY, VECTORS = "words.json", "vectors.safetensors"


def stable_hash(word: str) -> int:
    """In place of Python's own, which differs from process to process."""
    return xxhash.xxh3_64_intdigest(word.encode())


@dataclass(frozen=True)
class WordVectors:
    """Words, the most frequent first, and their vectors, words x width, float32."""

    words: tuple[str, ...]
    vectors: NDArray[np.float32]
    cutter: Cutter

    @classmethod
    def fit(
        cls, corpus: Iterable[list[str]], settings: WordEmbeddings, cutter: Cutter, seed: int
    ) -> Self:
        """Trains on one thread: the same words in the same order give the same bytes.

        Args:
            corpus: words of every document; read once for the vocabulary and once an epoch.
            settings: section `features.word_vectors`.
            cutter: how the corpus was cut, for the texts that come later.
            seed: of the vectors and of what is sampled.

        Raises:
            ValueError: no word occurs `min_count` times.
        """
        from gensim.models import Word2Vec

        model = Word2Vec(
            vector_size=settings.width,
            window=settings.window,
            min_count=settings.min_count,
            negative=settings.negative,
            sample=settings.subsample,
            sg=1,
            epochs=settings.epochs,
            seed=seed,
            workers=1,
            hashfxn=stable_hash,
        )
        model.build_vocab(corpus)
        if not len(model.wv):
            raise ValueError(
                f"no word occurs {settings.min_count} times in the corpus; lower "
                "features.word_vectors.min_count"
            )
        model.train(corpus, total_examples=model.corpus_count, epochs=model.epochs)
        vectors = np.ascontiguousarray(model.wv.vectors, np.float32)
        return cls(tuple(model.wv.index_to_key), vectors, cutter)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean of the vectors of each text's words, texts x width; zeros where it has none."""
        row = {word: number for number, word in enumerate(self.words)}
        found = np.zeros((len(texts), self.width), np.float32)
        for number, words in enumerate(self.cutter.cut(texts)):
            known = [row[word] for word in content_words(words) if word in row]
            if known:
                found[number] = self.vectors[known].mean(axis=0)
        return found

    def neighbours(self, word: str, n: int = 8) -> list[tuple[str, float]]:
        """The words nearest to one by the cosine of their vectors, with it; nearest first.

        Raises:
            KeyError: the word has no vector.
        """
        if word not in self.words:
            raise KeyError(f"{word!r} has no vector: it is rare or absent in the corpus")
        unit = self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1), 1e-12)[:, None]
        cosines = unit @ unit[self.words.index(word)]
        best = [place for place in np.argsort(-cosines) if self.words[place] != word][:n]
        return [(self.words[place], float(cosines[place])) for place in best]

    def save(self, path: Path) -> None:
        """Writes the directory's files."""
        path.mkdir(parents=True, exist_ok=True)
        described = {"cutter": self.cutter.as_json(), "words": self.words}
        (path / VOCABULARY).write_text(json.dumps(described, ensure_ascii=False), "utf-8")
        save_file({"vectors": self.vectors}, path / VECTORS)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a directory that `save` wrote.

        Raises:
            FileNotFoundError: it holds no word vectors.
        """
        described = json.loads((path / VOCABULARY).read_text("utf-8"))
        return cls(
            tuple(described["words"]),
            load_file(path / VECTORS)["vectors"],
            Cutter.from_json(described["cutter"]),
        )


def plane(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two main components (PCA) of vectors, rows x 2, each axis turned so that the component
    that weighs most is positive.
    """
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    greatest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), greatest])
    flat = centred @ (axes * signs[:, None]).T
    return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))


def words_of_interest(vectors: WordVectors, stop_words: frozenset[str], most: int) -> list[str]:
    """Domain terms that have a vector, the most frequent first; of a domain without a dictionary,
    frequent words that are no stop words.
    """
    terms = {term.lower() for term in vectors.cutter.terms}
    chosen = [word for word in vectors.words if word in terms and word not in stop_words]
    if not chosen:
        chosen = [
            word
            for word in vectors.words
            if word not in stop_words and len(word) > 1 and not word.isdigit()
        ]
    return chosen[:most]
