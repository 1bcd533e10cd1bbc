"""The bootstrap: SciPy's own beside it, and what its draws keep together."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from vertical_assets.evaluation.resampling import Draws, interval, p_value


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(3).exponential(size=400)
    draws = Draws([str(n) for n in range(400)], seed=1, rounds=4000)
    low, high = interval(draws.sums(values[:, None])[:, 0] / 400)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_first_of_the_rounds_is_the_sample() -> None:
    statistics = np.arange(12.0).reshape(4, 3)
    sums = Draws(list("aabc"), seed=1, rounds=250).sums(statistics)
    assert sums.shape == (251, 3)
    assert sums[0].tolist() == statistics.sum(axis=0).tolist()


def test_items_of_a_group_are_drawn_together() -> None:
    draws = Draws(list("abab"), seed=1, rounds=50)
    times = draws.sums(np.eye(4))
    assert (times[:, 0] == times[:, 2]).all()
    assert (times[:, 1] == times[:, 3]).all()
    assert (times[:, :2].sum(axis=1) == 2).all()  # as many groups as there are


def test_items_that_hang_together_make_the_interval_wider() -> None:
    values = np.repeat(np.random.default_rng(5).normal(size=50), 20)[:, None]
    groups = [str(n // 20) for n in range(1000)]
    widths = []
    for of_item in (groups, [str(n) for n in range(1000)]):
        low, high = interval(Draws(of_item, seed=1).sums(values)[:, 0])
        assert low is not None
        assert high is not None
        widths.append(high - low)
    # Twenty copies tell no more than one: the width of 50 values, sqrt(20) that of 1,000.
    assert widths[0] / widths[1] == pytest.approx(20**0.5, rel=0.15)


def test_the_same_seed_draws_the_same() -> None:
    first, again, other = (Draws(map(str, range(30)), seed=n).weights for n in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_p_is_below_one_in_twenty_where_the_interval_leaves_zero_out() -> None:
    generator = np.random.default_rng(7)
    for centre in np.linspace(0.0, 3.5, 12):
        gains = np.r_[centre, generator.normal(centre, 1.0, 1000)]
        low, _ = interval(gains)
        assert low is not None
        assert (p_value(gains) < 0.05) == (low > 0) or abs(low) < 0.02
    assert p_value(np.r_[1.0, np.ones(999)]) == 2 / 1000  # never 0
    assert p_value(np.zeros(1001)) == 1.0


def test_without_rounds_there_is_no_interval() -> None:
    for draws in (Draws.none(3), Draws(["one group"] * 3, seed=1)):
        assert interval(draws.sums(np.ones((3, 1)))[:, 0]) == (None, None)
