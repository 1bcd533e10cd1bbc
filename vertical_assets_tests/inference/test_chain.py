"""Chains of tags: the best path and the marginals are what an enumeration of all paths gives."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.inference.chain import (
    FORBIDDEN,
    Chain,
    bio_allowed,
    bio_tags,
    marginals,
    spans_of,
    viterbi,
)

LABELS = ["drug", "disease"]


def random_chain(seed: int, tags: int) -> tuple[np.random.Generator, Chain]:
    rng = np.random.default_rng(seed)
    return rng, Chain(rng.normal(size=tags), rng.normal(size=(tags, tags)), rng.normal(size=tags))


def score(path: tuple[int, ...], emissions: np.ndarray, chain: Chain) -> float:
    total = chain.starts[path[0]] + chain.ends[path[-1]]
    total += sum(emissions[place, tag] for place, tag in enumerate(path))
    return float(total + sum(chain.transitions[a, b] for a, b in pairwise(path)))


@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_best_path_and_marginals_equal_brute_force(seed: int, lengths: list[int]) -> None:
    tags = 3
    rng, chain = random_chain(seed, tags)
    emissions = rng.normal(size=(len(lengths), max(lengths), tags)) * 3
    best = viterbi(emissions, np.array(lengths), chain)
    shares = marginals(emissions, np.array(lengths), chain)
    for row, length in enumerate(lengths):
        paths = list(product(range(tags), repeat=length))
        scores = np.array([score(path, emissions[row], chain) for path in paths])
        assert tuple(best[row]) == paths[int(scores.argmax())]
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        for place, tag in product(range(length), range(tags)):
            expected = sum(w for w, p in zip(weights, paths, strict=True) if p[place] == tag)
            assert shares[row, place, tag] == pytest.approx(expected, abs=1e-9)
        assert not shares[row, length:].any()


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_constrained_path_is_always_bio(seed: int, length: int) -> None:
    tags = bio_tags(LABELS)
    rng, free = random_chain(seed, len(tags))
    first, allowed = bio_allowed(LABELS)
    chain = Chain(
        free.starts + np.where(first, 0, FORBIDDEN),
        free.transitions + np.where(allowed, 0, FORBIDDEN),
        free.ends,
    )
    emissions = rng.normal(size=(1, length, len(tags))) * 10
    names = [tags[tag] for tag in viterbi(emissions, np.array([length]), chain)[0]]
    for before, after in zip(["O", *names], names, strict=False):
        assert not after.startswith("I-") or before[2:] == after[2:]


def test_tags_become_spans() -> None:
    tags = ["B-drug", "I-drug", "B-drug", "O", "I-disease", "I-drug", "O", "B-disease"]
    assert spans_of(tags) == [
        (0, 1, "drug"),
        (2, 2, "drug"),
        (4, 4, "disease"),  # continues nothing: conlleval lets it begin a span
        (5, 5, "drug"),
        (7, 7, "disease"),
    ]
