"""Differentially private counts and means, paid from one budget (SPEC X1; OpenDP makes the noise).

Neighbouring data sets differ in everything that one author wrote (a document without an author
counts as one of its own); each author's part is bounded to a number of documents. Every release
is written to a ledger before it is returned: the same question to the same data is answered again
from there, free and to the byte, and a new one is paid for or refused. Dwork & Roth, "The
Algorithmic Foundations of Differential Privacy" (2014), sections 3.3 and 3.5.
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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from vertical_assets.corpus.anonymity import distinct, person_of
from vertical_assets.store.contracts import PRIVATE_RELEASE

OTHER = "*"
CONFIDENCE = 0.95
# A mean is summed in whole steps of its range: exact sums have an exact sensitivity.
STEPS = 1 << 20
_ROUNDING = 1 + 1e-9  # so that ten releases of a tenth fit into one

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
            if epsilon > left * _ROUNDING:
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


def release_counts(
    documents: pa.Table,
    ledger: Ledger,
    version: str,
    epsilon: float,
    by: str | None = None,
    groups: Sequence[str] = (),
    max_documents: int = 1,
) -> pa.Table:
    """Releases how many documents each group has.

    Args:
        documents: columns `doc_id`, `author_id`, and `by`.
        ledger: pays.
        version: the documents' data version.
        epsilon: cost of the release; of all its groups together.
        by: column that parts the groups; all documents are one where not given.
        groups: its values, known beforehand (sources, languages, labels as declared): values read
            from the data would betray who is in it. All others count together as `*`.
        max_documents: documents of one author that count, the first by id. The sensitivity.

    Returns:
        pa.Table: PRIVATE_RELEASE; values are unbiased, so that small ones may be negative.

    Raises:
        BudgetExhaustedError: the ledger can't pay; nothing was released.
    """
    query = _query("count", "documents", by, groups, epsilon, max_documents)

    def measure() -> Rows:
        rows = _bounded(documents, max_documents)
        exact = np.bincount(_group(rows, by, groups), minlength=len(groups) + 1)
        noisy, accuracy = _noisy(exact, max_documents, epsilon, 1 - CONFIDENCE)
        return [{"value": float(count), "accuracy": accuracy} for count in noisy]

    return _table(query, ledger.answer(query, version, epsilon, measure))


def release_mean(
    documents: pa.Table,
    value: str,
    bounds: tuple[float, float],
    ledger: Ledger,
    version: str,
    epsilon: float,
    by: str | None = None,
    groups: Sequence[str] = (),
    max_documents: int = 1,
) -> pa.Table:
    """Releases the mean of a number, e.g. the texts' length, in each group.

    Half of epsilon goes to the sum, taken from the middle of the bounds, half to the count.

    Args:
        documents: columns `doc_id`, `author_id`, `value`, and `by`; a row without a value does
            not count.
        value: column of numbers.
        bounds: values beyond are moved to the bound; chosen without looking at the data.
        ledger: pays.
        version: the documents' data version.
        epsilon: cost of the release; of all its groups together.
        by: as in `release_counts`.
        groups: as in `release_counts`.
        max_documents: as in `release_counts`.

    Returns:
        pa.Table: PRIVATE_RELEASE; `accuracy` holds for the mean of the bounded values.

    Raises:
        BudgetExhaustedError: the ledger can't pay; nothing was released.
        ValueError: the bounds are not in order.
    """
    low, high = bounds
    if not low < high:
        raise ValueError(f"bounds of {value!r} are ({low:g}, {high:g}); the first must be less")
    middle, half = (low + high) / 2, (high - low) / 2
    query = _query("mean", value, by, groups, epsilon, max_documents) | {"bounds": [low, high]}

    def measure() -> Rows:
        present = documents.filter(pc.invert(pc.is_null(documents[value], nan_is_null=True)))
        rows = _bounded(present, max_documents)
        group = _group(rows, by, groups)
        numbers = np.clip(rows[value].to_numpy().astype(float), low, high)
        steps = np.rint((numbers - middle) / half * STEPS).astype(np.int64)
        sums = np.zeros(len(groups) + 1, np.int64)
        np.add.at(sums, group, steps)
        counts = np.bincount(group, minlength=len(sums))
        missed = (1 - CONFIDENCE) / 2  # either may miss
        noisy_sums, sum_off = _noisy(sums, max_documents * STEPS, epsilon / 2, missed)
        noisy_counts, count_off = _noisy(counts, max_documents, epsilon / 2, missed)
        answer = []
        for total, count in zip(noisy_sums, noisy_counts, strict=True):
            people = max(1, count)
            mean = middle + half * total / STEPS / people
            # |S'/n' - S/n| <= |S' - S| / n' + |S/n| |n - n'| / n', and |S/n| <= half.
            off = half * (sum_off / STEPS + count_off) / people
            answer.append({"value": min(high, max(low, mean)), "accuracy": min(off, high - low)})
        return answer

    return _table(query, ledger.answer(query, version, epsilon, measure))


def _noisy(
    exact: NDArray[np.int64], sensitivity: int, epsilon: float, alpha: float
) -> tuple[list[int], float]:
    """Whole numbers with discrete Laplace noise, and what it exceeds with probability alpha."""
    from opendp.accuracy import discrete_laplacian_scale_to_accuracy
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    scale = sensitivity / epsilon  # the Laplace mechanism (Dwork & Roth, definition 3.3)
    mechanism = make_laplace(vector_domain(atom_domain(T="i64")), l1_distance(T="i64"), scale)
    if mechanism.map(sensitivity) > epsilon * _ROUNDING:
        raise RuntimeError(
            f"OpenDP accounts {mechanism.map(sensitivity):g} for a release of epsilon {epsilon:g}"
        )
    return mechanism(exact.tolist()), discrete_laplacian_scale_to_accuracy(scale, alpha)


def _query(
    statistic: str,
    of: str,
    by: str | None,
    groups: Sequence[str],
    epsilon: float,
    max_documents: int,
) -> dict[str, Any]:
    if not (epsilon > 0 and max_documents > 0):
        raise ValueError(
            f"epsilon ({epsilon:g}) and max_documents ({max_documents}) must be greater than 0"
        )
    if (by is None) != (not groups) or len(set(groups)) != len(groups) or OTHER in groups:
        raise ValueError(
            f"groups of {by!r}: {list(groups)}; name the column and its values, each once, or "
            f"neither ({OTHER!r} is what the others are called)"
        )
    return {
        "statistic": statistic,
        "of": of,
        "by": by,
        "groups": list(groups),
        "epsilon": epsilon,
        "max_documents": max_documents,
    }


def _bounded(documents: pa.Table, max_documents: int) -> pa.Table:
    """The first documents of each author."""
    person = person_of(documents["doc_id"], documents["author_id"])
    keyed = documents.append_column("person", person)
    keyed = keyed.sort_by([("person", "ascending"), ("doc_id", "ascending")])
    first, number = distinct([keyed["person"]])
    return keyed.filter(pa.array(np.arange(len(number)) - first[number] < max_documents))


def _group(rows: pa.Table, by: str | None, groups: Sequence[str]) -> NDArray[np.int64]:
    """Number of each row's group; the last one is the others'."""
    if by is None:
        return np.zeros(rows.num_rows, np.int64)
    numbers = pc.fill_null(pc.index_in(rows[by], pa.array(groups, pa.string())), len(groups))
    return numbers.to_numpy().astype(np.int64)


def _table(query: Mapping[str, Any], answer: Rows) -> pa.Table:
    names = [*query["groups"], OTHER]
    return pa.Table.from_pylist(
        [
            {**row, **{k: query[k] for k in ("statistic", "of", "by", "epsilon")}, "group": name}
            for name, row in zip(names, answer, strict=True)
        ],
        PRIVATE_RELEASE,
    )
