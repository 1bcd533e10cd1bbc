"""Cosine finds the nearest."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from vertical_assets.evaluation.errors.neighbours import nearest


def test_the_nearest_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    asked, known = (rng.normal(size=(n, 8)) for n in (1500, 70))
    asked, known = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (asked, known))
    distances, expected = (
        NearestNeighbors(n_neighbors=1, metric="cosine").fit(known).kneighbors(asked)
    )
    rows, cosines = nearest(asked, known)
    assert (rows == expected[:, 0]).all()
    np.testing.assert_allclose(cosines, 1 - distances[:, 0], atol=1e-9)
