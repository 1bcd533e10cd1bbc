"""Learning rates: by scale, and their course as torch's own schedulers draw it."""

import warnings
from typing import Literal

import pytest
import torch
from torch.optim import lr_scheduler

from vertical_assets.training.loop.schedules import Schedule, initial_rate

PEAK = 1e-3


@pytest.mark.parametrize(
    ("records", "layers", "rate"),
    [
        (999_999, 6, 0.0005),  # SPEC M11
        (1_000_000, 6, 0.001),
        (10_000_000, 20, 0.001),
        (10_000_001, 6, 0.005),
        (999_999, 24, 0.00025),  # half, as GPT-3's 24 layers have half the rate of its 12
    ],
)
def test_the_rate_follows_the_scale(records: int, layers: int, rate: float) -> None:
    found = initial_rate(None, records, layers)
    assert found.value == pytest.approx(rate)
    assert f"{records:,} records" in found.why
    assert ("layers" in found.why) == (layers > 20)


def test_a_configured_rate_stays() -> None:
    assert initial_rate(3e-4, 10, 48).value == 3e-4


def drawn_by_torch(decay: str, total: int) -> list[float]:
    """The specification's course out of torch's parts (SPEC T7, T8)."""
    cold, every = total // 5, total // 5
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=cold),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - cold, eta_min=1e-5)
            if decay == "cosine"
            else lr_scheduler.StepLR(optimizer, step_size=every, gamma=0.1),
        ],
        milestones=[cold],
    )
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR's own, of its inner calls
        for _ in range(total):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return rates


@pytest.mark.parametrize("total", [50, 1000])
@pytest.mark.parametrize("decay", ["cosine", "step"])
def test_the_course_is_what_torch_draws(decay: Literal["cosine", "step"], total: int) -> None:
    factor = Schedule(decay).factor(total)
    assert [PEAK * factor(step) for step in range(total)] == pytest.approx(
        drawn_by_torch(decay, total), rel=1e-9
    )


def test_the_specifications_steps_and_rates() -> None:
    """1e-4 for 10,000 steps, then 1e-3 and down to 1e-5; or x 0.1 every 10,000 (SPEC T7, T8)."""
    cosine, step = (Schedule(decay).factor(50_000) for decay in ("cosine", "step"))
    for factor in (cosine, step):
        assert [PEAK * factor(at) for at in (0, 9_999)] == pytest.approx([1e-4, 1e-4])
        assert PEAK * factor(10_000) == pytest.approx(1e-3)
    assert PEAK * cosine(50_000) == pytest.approx(1e-5)
    assert [PEAK * step(at) for at in (19_999, 20_000, 30_000)] == pytest.approx([1e-3, 1e-4, 1e-5])


def test_the_scaling_is_told() -> None:
    assert Schedule().described(600, PEAK) == (
        "cold start at 0.0001, then 0.001: 10,000 of 50,000 steps -> 120 of 600; "
        "cosine to 1e-05: T = 50,000 steps -> 480 after the cold start (SPEC T7, T8)"
    )
    assert "x 0.1 every 10,000 of 50,000 steps -> every 120" in Schedule("step").described(600, 1)


def test_a_linear_cold_start_rises_to_the_peak() -> None:
    factor = Schedule(cold_start="linear", cold_share=0.1).factor(1000)
    rates = [factor(step) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100])
    assert rates[99] == pytest.approx(1.0)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert factor(550) == pytest.approx(0.505, abs=1e-3)  # half way down
    assert factor(1000) == pytest.approx(0.01)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("decay", ["cosine", "step"])
@pytest.mark.parametrize("cold_start", ["constant", "linear"])
def test_the_shortest_runs_have_rates_too(
    decay: Literal["cosine", "step"], cold_start: Literal["constant", "linear"], total: int
) -> None:
    factor = Schedule(decay, cold_start).factor(total)
    assert all(0 < factor(step) <= 1 for step in range(total + 1))
