"""pass@k: the closed form is what counting all draws gives."""

import itertools
from statistics import fmean

import pytest

from vertical_assets.evaluation.instruction.pass_at_k import pass_at_k, pass_rates


@pytest.mark.parametrize("samples", range(1, 8))
def test_it_is_the_share_of_draws_with_a_pass(samples: int) -> None:
    for passed in range(samples + 1):
        outcomes = [True] * passed + [False] * (samples - passed)
        for k in range(1, samples + 1):
            draws = [any(draw) for draw in itertools.combinations(outcomes, k)]
            assert pass_at_k(samples, passed, k) == pytest.approx(fmean(draws), abs=1e-12)


def test_many_samples_do_not_overflow() -> None:
    assert pass_at_k(100_000, 50, 1) == pytest.approx(0.0005)
    assert 0.39 < pass_at_k(100_000, 50, 1000) < 0.4  # 1 - (1 - 1000 / 100000) ** 50 = 0.395
    assert pass_at_k(200, 200, 100) == 1.0


@pytest.mark.parametrize(("samples", "passed", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_what_is_undefined_is_refused(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of {samples}"):
        pass_at_k(samples, passed, k)


def test_the_interval_is_over_tasks() -> None:
    half = pass_rates([(2, 0), (2, 2)] * 50, [1, 2], seed=1)
    assert [rate.value for rate in half] == [0.5, 0.5]
    # 100 tasks that are solved or not: 1.96 * sqrt(0.25 / 100) to each side.
    assert half[0].low == pytest.approx(0.402, abs=0.02)
    assert half[0].high == pytest.approx(0.598, abs=0.02)
    assert half == pass_rates([(2, 0), (2, 2)] * 50, [1, 2], seed=1)
    (sure,) = pass_rates([(3, 3)] * 5, [1], seed=1)
    assert (sure.low, sure.value, sure.high) == (1.0, 1.0, 1.0)
