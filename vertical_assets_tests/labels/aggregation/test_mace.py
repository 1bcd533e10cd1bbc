"""MACE: a crowd set, crowd-kit's values, and annotators who were made to guess."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from crowdkit.aggregation import MACE

from vertical_assets.labels.aggregation.mace import mace
from vertical_assets.labels.votes import Votes, votes_of
from vertical_assets_tests.labels.aggregation.test_dawid_skene import crowd, gold_of
from vertical_assets_tests.labels.agreement.test_report import said


def test_it_is_better_than_the_majority_on_a_crowd() -> None:
    """722 of 1,000 right where the majority has 696; crowd-kit's MACE has 722 too."""
    votes = votes_of(said(crowd()), ["0", "1"])
    found = mace(votes, seed=0)
    assert (found.posterior.argmax(axis=1) == gold_of(votes.items)).sum() == 722
    again = mace(votes, seed=0)
    assert (again.posterior == found.posterior).all()


def guessed() -> tuple[Votes, np.ndarray]:
    """200 items, labels 0 to 2, by five annotators of whom two often guess; and the truth."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 200)
    habit = [2, 0, 1, 1, 2]
    guesses = rng.random((5, 200)) < np.array([0.05, 0.1, 0.2, 0.7, 0.9])[:, None]
    labels = np.where(guesses, np.array(habit)[:, None], truth)
    names = pa.array([str(n) for n in range(200)])
    item, who = np.tile(np.arange(200), 5), np.repeat(np.arange(5), 200)
    return Votes(item, who, labels.ravel(), names, list("abcde"), 3), truth


def test_it_is_crowd_kits() -> None:
    votes, truth = guessed()
    frame = pd.DataFrame({"task": votes.item, "worker": votes.annotator, "label": votes.label})
    # It mixes labels up that do not first occur in their order.
    frame = frame.sort_values(["label", "worker", "task"])
    peer = MACE(n_restarts=1).fit(frame)
    assert peer.probas_ is not None
    expected = peer.probas_.sort_index().sort_index(axis=1).to_numpy()
    found = mace(votes, seed=1)
    assert found.posterior == pytest.approx(expected, abs=1e-8)
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.95


def test_who_guesses_and_what_is_told() -> None:
    votes, _ = guessed()
    found = mace(votes, seed=1)
    knowing = found.knowing
    assert knowing[:3].min() > 0.7 > 0.4 > knowing[3:].max()
    assert found.habits.argmax(axis=1)[3:].tolist() == [1, 2]
