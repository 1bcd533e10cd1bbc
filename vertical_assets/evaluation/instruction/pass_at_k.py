"""pass@k without bias, and its interval over the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 2000  # of the bootstrap


@dataclass(frozen=True)
class PassAtK:
    """The share of tasks that k samples solve, in the mean; its 95 % interval over tasks."""

    k: int
    value: float
    low: float
    high: float


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Probability that of k samples, drawn from these without replacement, at least one passed.

    1 - C(samples - passed, k) / C(samples, k), as a product that can't overflow (Chen et al. 2021,
    arXiv:2107.03374, equation 1 and figure 3).

    Raises:
        ValueError: not 1 <= k <= samples, or not 0 <= passed <= samples.
    """
    if not 1 <= k <= samples or not 0 <= passed <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {passed} of which passed, is undefined")
    failed = samples - passed
    if failed < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(failed + 1, samples + 1)))


def pass_rates(counts: Sequence[tuple[int, int]], ks: Sequence[int], seed: int) -> list[PassAtK]:
    """pass@k over tasks, with the percentile interval of a bootstrap that draws tasks.

    Where every task is solved, or none, no draw differs, and the interval is a point.

    Args:
        counts: (samples, passed) of every task.
        ks: each at most the fewest samples of a task.
        seed: of the bootstrap.
    """
    draws = np.random.default_rng(seed).integers(len(counts), size=(ROUNDS, len(counts)))
    found = []
    for k in ks:
        values = np.array([pass_at_k(samples, passed, k) for samples, passed in counts])
        low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
        found.append(PassAtK(k, float(values.mean()), float(low), float(high)))
    return found
