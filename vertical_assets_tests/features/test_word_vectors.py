"""Word2Vec on the domain's words: terms have vectors, the same words give the same bytes (D13)."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vertical_assets.features.word_vectors import WordVectors, plane, words_of_interest
from vertical_assets.features.words import Cutter
from vertical_assets.spec.features import WordEmbeddings
from vertical_assets_tests.conftest import ROOT

CUTTER = Cutter(frozenset({"heart attack"}))
SETTINGS = WordEmbeddings(width=16, window=3, min_count=2, epochs=20, subsample=0)
FRUIT, BEASTS = ["apple", "pear", "plum", "fig"], ["dog", "cat", "lion", "heart attack"]
FIT = """
import json, sys
from pathlib import Path
from vertical_assets.features.word_vectors import WordVectors
from vertical_assets.features.words import Cutter
from vertical_assets.spec.features import WordEmbeddings
corpus, settings = json.load(sys.stdin)
made = WordVectors.fit(corpus, WordEmbeddings(**settings), Cutter(frozenset()), seed=1)
made.save(Path(sys.argv[1]))
"""


def corpus() -> list[list[str]]:
    rng = random.Random(0)
    return [rng.choices(rng.choice([FRUIT, BEASTS]), k=6) for _ in range(300)]


CORPUS = corpus()


def fitted() -> WordVectors:
    return WordVectors.fit(CORPUS, SETTINGS, CUTTER, seed=1)


def test_the_same_words_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", FIT, str(tmp_path / seed)],
            input=json.dumps([CORPUS, SETTINGS.model_dump()]),
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            timeout=120,
        )
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()
    assert {file.name for file in (tmp_path / "1").iterdir()} == {
        "words.json",
        "vectors.safetensors",
    }


def test_words_of_the_same_contexts_are_near() -> None:
    found = fitted()
    for group in (FRUIT, BEASTS):
        for word in group:
            assert {near for near, _ in found.neighbours(word, 3)} == set(group) - {word}
    with pytest.raises(KeyError, match="has no vector"):
        found.neighbours("zebra")


def test_a_text_is_the_mean_of_its_words(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    found = WordVectors.load(tmp_path)
    made = found.transform(["A Heart Attack, dog!", "", "zebra"])
    assert made.dtype == np.float32
    assert made.shape == (3, found.width) == (3, 16)
    places = [found.words.index(word) for word in ("heart attack", "dog")]
    np.testing.assert_allclose(made[0], found.vectors[places].mean(axis=0), rtol=1e-6)
    assert not made[1:].any()


def test_the_page_shows_domain_terms_else_frequent_words() -> None:
    found = fitted()
    assert words_of_interest(found, frozenset(), 5) == ["heart attack"]
    plain = WordVectors(found.words, found.vectors, Cutter(frozenset()))
    assert "dog" not in words_of_interest(plain, frozenset({"dog"}), 20)
    assert len(words_of_interest(plain, frozenset(), 3)) == 3


def test_the_plane_is_that_of_the_main_components() -> None:
    from sklearn.decomposition import PCA

    vectors = fitted().vectors
    expected = PCA(2).fit_transform(vectors)
    np.testing.assert_allclose(np.abs(plane(vectors)), np.abs(expected), atol=1e-4)


def test_a_corpus_of_rare_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lower features\.word_vectors\.min_count"):
        WordVectors.fit([["a", "b"]], SETTINGS, CUTTER, seed=1)
