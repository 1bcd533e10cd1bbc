"""Gates: what a model has to pass before it is released.

Every report has a function `gates_of` that computes its gates from what is stored, so that they
can be computed again where a release is decided: a result that somebody materialized by hand passes
no gate that it does not pass there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """One verdict.

    Attributes:
        gate: name of the asset check.
        passed: the verdict.
        blocking: whether no model is released without it.
        value: what was measured.
        bar: what it was measured by.
        why: in words, with the figures.
    """

    gate: str
    passed: bool
    blocking: bool
    value: float | None
    bar: float | None
    why: str
