"""Gains, and whether they could be chance: brute force and laws."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.evaluation.regression import number_scores
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.significance import gain_rows, mcnemar
from vertical_assets.store.contracts import EVALUATION


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_mcnemar_is_the_share_of_coins_that_fall_as_unevenly(
    right: list[tuple[bool, bool]],
) -> None:
    """Exact: every item that one model alone has right is a coin."""
    gold = ["x"] * len(right)
    ours, theirs = (["x" if pair[side] else "y" for pair in right] for side in (0, 1))
    only, other = (sum(a > b for a, b in right), sum(a < b for a, b in right))
    coins = only + other
    unlikely = sum(
        comb(coins, n) for n in range(coins + 1) if abs(2 * n - coins) >= abs(only - other)
    )
    p, differ = mcnemar(gold, ours, theirs)
    assert differ == coins
    assert p == pytest.approx(unlikely / 2**coins, abs=1e-9)


def rows_of(
    ours: list[float], theirs: list[float], gold: list[float]
) -> dict[str, dict[str, float]]:
    draws = Draws(map(str, range(len(gold))), seed=1)
    scores, others = (number_scores(gold, said, draws) for said in (ours, theirs))
    rows = gain_rows(scores, others, "test", "other", "mae")
    assert all(set(row) <= set(EVALUATION.names) for row in rows)
    assert {row["against"] for row in rows} == {"other"}
    return {row["metric"]: row for row in rows}


def test_the_interval_of_a_gain_is_paired() -> None:
    """Two models that differ by the same on every item differ for sure, however items vary."""
    gold = [float(n) for n in range(100)]
    rows = rows_of([n + 1.0 for n in gold], [n + 1.5 for n in gold], gold)
    gain = rows["mae_gain"]  # an error that is smaller is a gain
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx((0.5, 0.5, 0.5))
    assert rows["mae_gain_p"]["value"] < 0.01


def test_a_model_has_no_gain_over_itself() -> None:
    gold = [float(n) for n in range(20)]
    said = list(np.array(gold) + np.random.default_rng(1).normal(size=20))
    rows = rows_of(said, said, gold)
    assert rows["mae_gain"]["value"] == rows["r2_gain"]["value"] == 0.0
    assert rows["mae_gain_p"]["value"] == 1.0


def test_chance_is_called_chance() -> None:
    """Two models of the same kind: at most about one in twenty such pairs would differ."""
    gold = [0.0] * 200
    generator = np.random.default_rng(11)
    chances = []
    for _ in range(20):
        ours, theirs = (list(generator.normal(size=200)) for _ in range(2))
        chances.append(rows_of(ours, theirs, gold)["mae_gain_p"]["value"])
    assert np.mean(np.array(chances) < 0.05) <= 0.15
