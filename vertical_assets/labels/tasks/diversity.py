"""Diversity: documents that are far from everything that is labelled or chosen already.

k-center greedy on TF-IDF vectors, reduced by a truncated SVD (Sener and Savarese 2018, "Active
Learning for Convolutional Neural Networks: A Core-Set Approach", algorithm 1): always the document
whose nearest centre is the furthest away is the next centre. Cosine distances.
"""

from collections.abc import Sequence

import numpy as np

from vertical_assets.spec import VerticalSpec

WIDTH = 64  # of the vectors: what a text is about, not its wording
TERMS = 20_000


def text_vectors(texts: Sequence[str], spec: VerticalSpec) -> np.ndarray:
    """Unit vectors, texts x at most WIDTH; zeros of a text without any term.

    Args:
        texts: whole texts.
        spec: `language`, `seed`.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    weights = TfidfVectorizer(
        analyzer="word" if spec.spaced else "char",
        token_pattern=r"(?u)\b\w+\b" if spec.spaced else None,
        ngram_range=(1, 1) if spec.spaced else (1, 2),
        max_features=TERMS,
        sublinear_tf=True,
    )
    try:
        table = weights.fit_transform(texts)
    except ValueError:  # no text has a term
        return np.zeros((len(texts), 1))
    if table.shape[1] <= WIDTH or table.shape[0] <= WIDTH:
        return table.toarray()
    reduced = TruncatedSVD(WIDTH, random_state=spec.seed % 2**32).fit_transform(table)
    return normalize(reduced)


def furthest_first(vectors: np.ndarray, centres: np.ndarray, count: int) -> list[tuple[int, float]]:
    """(row, distance to its nearest centre when it was chosen) of up to `count` rows, in order.

    Args:
        vectors: rows x width, of length 1; rows of zeros come last.
        centres: others x width; may be none: the first row is then the first centre, at 2,
            the greatest cosine distance.
        count: rows wanted.
    """
    empty = ~vectors.any(axis=1)
    nearest = (
        np.full(len(vectors), 2.0) if not len(centres) else 1 - (vectors @ centres.T).max(axis=1)
    )
    nearest[empty] = 0.0
    chosen: list[tuple[int, float]] = []
    for _ in range(min(count, len(vectors))):
        row = int(nearest.argmax())
        chosen.append((row, round(float(max(nearest[row], 0.0)), 6)))
        nearest = np.minimum(nearest, 1.0 - vectors @ vectors[row])
        nearest[empty] = np.minimum(nearest[empty], 0.0)
        nearest[row] = -np.inf
    return chosen
