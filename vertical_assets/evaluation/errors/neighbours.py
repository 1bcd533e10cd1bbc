"""Which of some texts is nearest to each of others, by the cosine of their embeddings."""

import numpy as np

BLOCK = 1024  # texts that are compared with all others at a time


def nearest(asked: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row of `known`, cosine) of what is nearest to each of `asked`; the first of equals.

    Args:
        asked: rows x width, each of length 1.
        known: at least one row x width, each of length 1.
    """
    rows, cosines = np.zeros(len(asked), np.int64), np.zeros(len(asked))
    for start in range(0, len(asked), BLOCK):
        likeness = asked[start : start + BLOCK] @ known.T
        best = likeness.argmax(axis=1)
        rows[start : start + BLOCK] = best
        cosines[start : start + BLOCK] = likeness[np.arange(len(best)), best]
    return rows, np.clip(cosines, -1.0, 1.0)
