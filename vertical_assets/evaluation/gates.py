"""Gates: what a model has to pass before it is released, as rows that can be read again.

Every report has a function that computes its gates from what is stored. The report's asset checks
are made from them, and `release` computes them again: a result that somebody materialized by hand
passes no gate that it does not pass here.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa

GATES = pa.schema(
    [
        pa.field("gate", pa.string(), nullable=False),  # name of the asset check
        pa.field("passed", pa.bool_(), nullable=False),
        pa.field("blocking", pa.bool_(), nullable=False),  # whether a release needs it
        pa.field("value", pa.float64()),
        pa.field("bar", pa.float64()),
        pa.field("why", pa.string(), nullable=False),
    ]
)


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


def gates_table(gates: Iterable[Gate]) -> pa.Table:
    """Gates as rows of GATES."""
    return pa.Table.from_pylist([asdict(gate) for gate in gates], GATES)
