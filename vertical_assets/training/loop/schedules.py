"""Learning rates: the first one by the scale of the data (SPEC M11), then cold start and decay
(SPEC T7, T8), with the specification's steps scaled to the length of the run.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FEW, MANY = 1_000_000, 10_000_000  # records (SPEC M11)
RATE_OF_FEW, RATE_BETWEEN, RATE_OF_MANY = 5e-4, 1e-3, 5e-3
DEEP = 20  # layers above which the rate is smaller (SPEC M11)
# By how much: GPT-3's models of 12 and 24 layers were trained at 6e-4 and 3e-4 (Brown et al. 2020,
# table 2.1), so the rate falls with the depth from 12 layers on.
USUAL_DEPTH = 12

PERIOD = 50_000  # steps that the specification's cosine takes (SPEC T8)
COLD_SHARE = 10_000 / PERIOD  # SPEC T7
COLD_FACTOR = 1e-4 / 1e-3  # SPEC T7
DECAY_SHARE, DECAY_FACTOR = 10_000 / PERIOD, 0.1  # SPEC T8, step decay
FINAL_FACTOR = 1e-5 / 1e-3  # SPEC T8, cosine


@dataclass(frozen=True)
class Rate:
    """A learning rate and why it is this one."""

    value: float
    why: str


def initial_rate(given: float | None, records: int, layers: int) -> Rate:
    """The configured learning rate, or the one that the specification gives by scale (SPEC M11).

    Args:
        given: from the YAML; None asks for the rule.
        records: texts or items that are trained on.
        layers: transformer layers of the model.
    """
    if given is not None:
        return Rate(given, "as configured")
    if records < FEW:
        rate, why = RATE_OF_FEW, f"{records:,} records, fewer than {FEW:,}"
    elif records > MANY:
        rate, why = RATE_OF_MANY, f"{records:,} records, more than {MANY:,}"
    else:
        rate, why = RATE_BETWEEN, f"{records:,} records, {FEW:,} to {MANY:,}"
    if layers > DEEP:
        rate *= USUAL_DEPTH / layers
        why += f"; {layers} layers, more than {DEEP}: times {USUAL_DEPTH}/{layers}"
    return Rate(rate, f"{why} (SPEC M11)")


@dataclass(frozen=True)
class Schedule:
    """The learning rate's course, as factors of its peak and shares of the run."""

    decay: Literal["cosine", "step"] = "cosine"
    cold_start: Literal["constant", "linear"] = "constant"
    cold_share: float = COLD_SHARE
    cold_factor: float = COLD_FACTOR

    def cold_steps(self, total: int) -> int:
        """Steps of the cold start, of `total`; a linear one has at least one."""
        least = 1 if self.cold_start == "linear" else 0
        return max(least, round(total * self.cold_share))

    def factor(self, total: int) -> Callable[[int], float]:
        """Step -> factor of the peak, a closed form: a resumed run needs its step only.

        The parts equal torch's ConstantLR, CosineAnnealingLR and StepLR in a SequentialLR, with
        each parameter group's own minimum. `linear` rises to the peak, as BERT's training did.
        """
        cold = self.cold_steps(total)
        every = max(1, round(total * DECAY_SHARE))

        def at(step: int) -> float:
            if step < cold:
                return (step + 1) / cold if self.cold_start == "linear" else self.cold_factor
            if self.decay == "step":
                return DECAY_FACTOR ** ((step - cold) // every)
            share = min(1.0, (step - cold) / max(1, total - cold))
            return FINAL_FACTOR + (1 - FINAL_FACTOR) * 0.5 * (1.0 + math.cos(math.pi * share))

        return at

    def described(self, total: int, peak: float) -> str:
        """The scaling in words, for the log and the asset's page."""
        cold = self.cold_steps(total)
        if self.cold_start == "linear":
            start = f"linear cold start up to {peak:.2g}: {cold:,} of {total:,} steps"
        else:
            start = (
                f"cold start at {peak * self.cold_factor:.2g}, then {peak:.2g}: "
                f"{self.cold_share * PERIOD:,.0f} of {PERIOD:,} steps -> {cold:,} of {total:,}"
            )
        if self.decay == "cosine":
            end = (
                f"cosine to {peak * FINAL_FACTOR:.2g}: T = {PERIOD:,} steps -> {total - cold:,} "
                "after the cold start"
            )
        else:
            every = max(1, round(total * DECAY_SHARE))
            end = (
                f"x {DECAY_FACTOR} every {DECAY_SHARE * PERIOD:,.0f} of {PERIOD:,} steps -> "
                f"every {every:,} after the cold start"
            )
        return f"{start}; {end} (SPEC T7, T8)"
