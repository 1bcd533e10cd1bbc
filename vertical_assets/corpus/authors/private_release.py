"""Differentially private counts and means, paid from one budget (SPEC X1; OpenDP makes the noise).

Neighbouring data sets differ in everything that one author wrote (a document without an author
counts as one of its own); each author's part is bounded to a number of documents. Dwork & Roth,
"The Algorithmic Foundations of Differential Privacy" (2014), section 3.3.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.authors.anonymity import person_of
from vertical_assets.corpus.authors.generalisation import distinct
from vertical_assets.corpus.authors.privacy_budget import ROUNDING, Ledger, Rows
from vertical_assets.store.contracts import PRIVATE_RELEASE

OTHER = "*"
CONFIDENCE = 0.95
# A mean is summed in whole steps of its range: exact sums have an exact sensitivity.
STEPS = 1 << 20


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
    if mechanism.map(sensitivity) > epsilon * ROUNDING:
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
