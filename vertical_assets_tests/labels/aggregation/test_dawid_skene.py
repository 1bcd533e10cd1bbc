"""Dawid and Skene's model: the paper's own table, a crowd set, and crowd-kit's values."""

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from crowdkit.aggregation import DawidSkene

from vertical_assets.labels.aggregation.dawid_skene import MOST_ROUNDS, SMOOTHING, dawid_skene
from vertical_assets.labels.votes import Votes, votes_of
from vertical_assets_tests.conftest import shared_data
from vertical_assets_tests.labels.agreement.test_report import said


def crowd() -> list[tuple[str, str, str]]:
    """(item, annotator, label) of the published set get_another_label."""
    with (shared_data("get_another_label") / "BarzanMozafari.labels.csv").open() as file:
        return [(row["item"], row["annotator"], row["label"]) for row in csv.DictReader(file)]


def gold_of(items: pa.Array) -> np.ndarray:
    with (shared_data("get_another_label") / "BarzanMozafari.gold.csv").open() as file:
        gold = {row["item"]: int(row["label"]) for row in csv.DictReader(file)}
    return np.array([gold[item] for item in items.to_pylist()])


def anaesthetists() -> Votes:
    """The paper's table 1; observer 1 rated every patient three times, and all three count."""
    with (shared_data("dawid_skene_1979") / "anaesthetic_ratings.csv").open() as file:
        rows = [(r["patient"], r["observer"], r["rating"]) for r in csv.DictReader(file)]
    return votes_of(said(rows), list("1234"))


@pytest.mark.parametrize("smoothing", [0.0, SMOOTHING])
def test_the_papers_table_gives_its_marginals(smoothing: float) -> None:
    found = dawid_skene(anaesthetists(), smoothing)
    assert found.marginals == pytest.approx([0.400, 0.422, 0.112, 0.067], abs=5e-4)
    assert found.posterior.sum(axis=1) == pytest.approx(np.ones(45))
    assert found.confusion.sum(axis=2) == pytest.approx(np.ones((5, 4)))
    assert found.rounds < 50


def test_it_is_better_than_the_majority_on_a_crowd() -> None:
    """712 of 1,000 right where the majority has 696; crowd-kit's DawidSkene has 709."""
    votes = votes_of(said(crowd()), ["0", "1"])
    gold = gold_of(votes.items)
    assert (votes.counts.argmax(axis=1) == gold).sum() == 696
    found = dawid_skene(votes)
    assert (found.posterior.argmax(axis=1) == gold).sum() == 712
    assert found.rounds < MOST_ROUNDS


def test_it_is_crowd_kits_where_both_run_to_the_end() -> None:
    votes = anaesthetists()
    frame = pd.DataFrame({"task": votes.item, "worker": votes.annotator, "label": votes.label})
    expected = DawidSkene(25, tol=-np.inf).fit(frame).probas_  # its own bound falls on the way
    assert expected is not None
    expected = expected.sort_index().sort_index(axis=1).to_numpy()
    assert dawid_skene(votes, smoothing=0.0).posterior == pytest.approx(expected, abs=1e-4)


def test_annotators_are_what_they_were_made_to_be() -> None:
    """3,000 items, one annotator who always says 0 and one who turns 1 and 2 round."""
    rng = np.random.default_rng(5)
    truth = rng.choice(3, 3000, p=[0.5, 0.3, 0.2])
    turned = np.array([0, 2, 1])
    columns = [np.where(rng.random(3000) < 0.85, truth, rng.integers(0, 3, 3000)) for _ in range(4)]
    columns += [np.zeros(3000, int), turned[truth]]
    item = np.tile(np.arange(3000), 6)
    names = pa.array([str(n) for n in range(3000)])
    votes = Votes(
        item, np.repeat(np.arange(6), 3000), np.concatenate(columns), names, list("abcdez"), 3
    )
    found = dawid_skene(votes)
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.99
    assert found.confusion[4] == pytest.approx(np.tile([1, 0, 0], (3, 1)), abs=1e-3)
    assert found.confusion[5] == pytest.approx(np.eye(3)[turned], abs=0.03)
    assert found.marginals == pytest.approx(np.bincount(truth) / 3000, abs=0.01)


def test_many_votes_do_not_underflow() -> None:
    """5,000 annotators of one item: a product of their probabilities would be 0."""
    item = np.repeat([0, 1], 5000)
    votes = Votes(
        item,
        np.tile(np.arange(5000), 2),
        np.concatenate([np.arange(5000) % 5 == 0, np.arange(5000) % 5 != 0]).astype(np.int64),
        pa.array(["x", "y"]),
        [str(n) for n in range(5000)],
        2,
    )
    found = dawid_skene(votes)
    assert np.isfinite(found.posterior).all()
    assert found.posterior.argmax(axis=1).tolist() == [0, 1]
