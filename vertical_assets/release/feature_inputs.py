"""Features as inputs of an artifact's network: TF-IDF and word vectors of texts, without torch.

The network reads word vectors as they are. TF-IDF is projected here, since a sparse row times a
matrix is little work, and a graph would have to read as many numbers as there are terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from vertical_assets.release.files import FEATURES, PROJECTION

if TYPE_CHECKING:
    from vertical_assets.features.tfidf import Tfidf
    from vertical_assets.features.word_vectors import WordVectors

TFIDF, WORD_VECTORS = "tfidf", "word_vectors"


@dataclass(frozen=True)
class FeatureInputs:
    """The features that an artifact's modules read; none of many.

    Attributes:
        tfidf: weights of terms, and the matrix that projects them, terms x width, float32.
        word_vectors: of a text's words.
    """

    tfidf: "tuple[Tfidf, np.ndarray] | None" = None
    word_vectors: "WordVectors | None" = None
    names: tuple[str, ...] = field(default=())

    @classmethod
    def load(cls, artifact: Path, names: Sequence[str]) -> "FeatureInputs":
        """Opens `features/` of an artifact."""
        given: dict[str, Any] = {}
        if TFIDF in names:
            from vertical_assets.features.tfidf import Tfidf

            folder = artifact / FEATURES / TFIDF
            projection = load_file(folder / PROJECTION)["projection"].astype(np.float32)
            given[TFIDF] = (Tfidf.load(folder), projection)
        if WORD_VECTORS in names:
            from vertical_assets.features.word_vectors import WordVectors

            given[WORD_VECTORS] = WordVectors.load(artifact / FEATURES / WORD_VECTORS)
        return cls(**given, names=tuple(names))

    def of(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Feature -> texts x width, float32."""
        found: dict[str, np.ndarray] = {}
        if self.tfidf is not None:
            weights, projection = self.tfidf
            found[TFIDF] = np.asarray(weights.transform(texts) @ projection, np.float32)
        if self.word_vectors is not None:
            found[WORD_VECTORS] = self.word_vectors.transform(texts)
        return {name: found[name] for name in self.names}


def save_projection(artifact: Path, projection: np.ndarray) -> None:
    """Writes TF-IDF's projection, terms x width, in half precision: a rounding of 2^-11 of each
    weight, below that of INT8.
    """
    folder = artifact / FEATURES / TFIDF
    save_file({"projection": projection.astype(np.float16)}, folder / PROJECTION)
