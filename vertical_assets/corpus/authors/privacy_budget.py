"""The privacy budget: one ledger pays for all that is released of a vertical (SPEC X1).

A release is written down before anybody sees it: the same question to the same data is answered
again from there, free and to the byte, and a new one is paid for or refused. Composition after
Dwork & Roth, "The Algorithmic Foundations of Differential Privacy" (2014), section 3.5.
"""

import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

ROUNDING = 1 + 1e-9  # so that ten releases of a tenth fit into one

Rows = list[dict[str, Any]]


class BudgetExhaustedError(Exception):
    """A release costs more privacy than is left; the message says how much that is."""


def composed(epsilons: Sequence[float], delta: float) -> float:
    """Epsilon of several pure releases together, at this delta: the better of two theorems.

    Basic composition is their sum (Dwork & Roth, theorem 3.14). Advanced composition (theorem
    3.20), by way of concentrated privacy: rho = sum(epsilon^2) / 2, and rho + 2 sqrt(rho ln(1 /
    delta)) (Bun & Steinke, "Concentrated Differential Privacy", 2016, propositions 1.3 and 1.4).
    It holds for releases chosen as one goes too (Whitehouse et al., "Fully-Adaptive Composition
    in Differential Privacy", 2023), and so does the better: while the sum is within the budget,
    no loss can exceed it.
    """
    squares = math.fsum(epsilon**2 for epsilon in epsilons)
    advanced = squares / 2 + math.sqrt(2 * squares * math.log(1 / delta))
    return min(math.fsum(epsilons), advanced)


@dataclass(frozen=True)
class Ledger:
    """All releases of one vertical: a file of JSON lines, one a release, with its result.

    The file must outlive the tables that are released from: with it goes the account. Any number
    of processes of one machine may use it; a killed one leaves it whole.

    Args:
        path: the file, on a local disk; made with the first release.
        epsilon: the whole budget (`attributes.epsilon`).
        delta: chance that the budget does not hold (`attributes.delta`).
    """

    path: Path
    epsilon: float
    delta: float = 1e-5

    def entries(self) -> Rows:
        """Releases so far, in order.

        Raises:
            ValueError: a line can't be read, so that what was spent is not known.
        """
        entries = []
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                entry = json.loads(line)
                entries.append({**entry, "epsilon": float(entry["epsilon"])})
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.path}:{number} is no entry of a ledger, so what was spent is not "
                    "known: restore the file from a backup"
                ) from error
        return entries

    def spent(self) -> float:
        """Epsilon that all releases so far cost together."""
        return composed([entry["epsilon"] for entry in self.entries()], self.delta)

    def left(self) -> float:
        """The most that one more release may cost."""
        epsilons = [entry["epsilon"] for entry in self.entries()]
        # `composed` solved for one more, by either theorem.
        slack = 2 * math.log(1 / self.delta)
        squares = (math.sqrt(slack + 2 * self.epsilon) - math.sqrt(slack)) ** 2
        advanced = math.sqrt(max(0.0, squares - math.fsum(x**2 for x in epsilons)))
        return max(0.0, self.epsilon - math.fsum(epsilons), advanced)

    def answer(
        self, query: Mapping[str, Any], version: str, epsilon: float, measure: Callable[[], Rows]
    ) -> Rows:
        """The result of a query on a data version: the one released before, or a new one.

        Args:
            query: what is asked, `epsilon` included; JSON.
            version: data version that it is asked of.
            epsilon: what a new release costs.
            measure: draws the noise; called for a new release only.

        Raises:
            BudgetExhaustedError: nothing was drawn or spent.
        """
        asked = json.dumps([query, version], ensure_ascii=False, sort_keys=True)
        release = xxhash.xxh3_128_hexdigest(asked.encode())
        with self._locked():
            entries = self.entries()
            for entry in entries:
                if entry["id"] == release:
                    return entry["result"]
            left = self.left()
            if epsilon > left * ROUNDING:
                raise BudgetExhaustedError(
                    f"a release of epsilon {epsilon:g} was asked for; {left:.6g} of "
                    f"{self.epsilon:g} is left after {len(entries)} releases ({self.path}): ask "
                    "at a smaller epsilon, use a result that is there, or raise "
                    "'deidentify.attributes.epsilon', which weakens everybody's privacy"
                )
            entry = {
                "id": release,
                "epsilon": epsilon,
                "delta": 0.0,
                "query": dict(query),
                "version": version,
                "result": measure(),
            }
            self._write([*entries, entry])
            return entry["result"]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, entries: Rows) -> None:
        aside = self.path.with_name(f"{self.path.name}.new")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
