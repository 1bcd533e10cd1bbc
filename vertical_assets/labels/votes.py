"""Votes: annotations of classes as numbers, so that a million of them cost seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.spec.labels import SIMULATED

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


MACHINES = ("rule", "model")  # kinds of annotators whose statements people review (SPEC D7)
ANNOTATOR_KINDS = ("human", *MACHINES, SIMULATED)
DATED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"  # how `created_at` begins where it was readable


@dataclass(frozen=True)
class Votes:
    """Who gave which label to which item, one entry per annotation, all as codes.

    `items` and `annotators` are the codes' names, in the order in which they first occur.
    """

    item: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    items: pa.StringArray
    annotators: list[str]
    labels: int

    @cached_property
    def counts(self) -> np.ndarray:
        """Items x labels: how many annotators gave each label."""
        size = len(self.items) * self.labels
        cells = self.item * self.labels + self.label
        return np.bincount(cells, minlength=size).reshape(len(self.items), self.labels)

    @cached_property
    def indicator(self) -> "csr_matrix":
        """Items x (annotators x labels): 1 where an annotator gave an item a label."""
        from scipy.sparse import csr_matrix

        said = self.annotator * self.labels + self.label
        shape = (len(self.items), len(self.annotators) * self.labels)
        return csr_matrix((np.ones(len(said)), (self.item, said)), shape)


def votes_of(annotations: pa.Table, labels: Sequence[str]) -> Votes:
    """Votes of ANNOTATIONS of one classification.

    Raises:
        ValueError: a label is none of `labels`, so that the annotations are older than those.
    """
    items = annotations["item_id"].combine_chunks().dictionary_encode()
    people = annotations["annotator_id"].combine_chunks().dictionary_encode()
    codes = pc.index_in(annotations["label"], pa.array(labels, pa.string()))
    if codes.null_count:
        row = annotations.filter(pc.is_null(codes)).slice(0, 1).to_pylist()[0]
        raise ValueError(
            f"item {row['item_id']}, annotator {row['annotator_id']}, batch {row['batch']!r}: "
            f"{row['label']!r} is none of task.labels; materialize 'annotations' again"
        )
    return Votes(
        items.indices.to_numpy().astype(np.int64),
        people.indices.to_numpy().astype(np.int64),
        codes.to_numpy().astype(np.int64),
        items.dictionary,
        people.dictionary.to_pylist(),
        len(labels),
    )


def by_people(annotations: pa.Table) -> pa.Table:
    """ANNOTATIONS of people, real or simulated: pre-labels of rules and models are no votes, since
    who agrees with what a machine proposed agrees with nobody (SPEC D7, D8).
    """
    machines = pa.array(MACHINES, pa.string())
    return annotations.filter(pc.invert(pc.is_in(annotations["annotator_kind"], machines)))


def latest(annotations: pa.Table) -> pa.Table:
    """One judgement per annotator and item, or question: of several, in different batches, the one
    of the latest `created_at`; of those without a time, or of the same, the last row.
    """
    judged = judgements(annotations)
    ordered = np.sort(judged)
    if not (ordered[1:] == ordered[:-1]).any():
        return annotations
    newest = np.full(judged.size, -1)
    place = places(annotations)
    np.maximum.at(newest, judged, place)
    return annotations.filter(pa.array(newest[judged] == place))


def judgements(annotations: pa.Table) -> np.ndarray:
    """For each row which judgement it is: a number, below that of rows, for each annotator's on an
    item, or on a question.
    """
    key, keys = np.zeros(annotations.num_rows, np.int64), 1
    for name in ("item_id", "question", "annotator_id"):
        column = annotations[name].combine_chunks().dictionary_encode(null_encoding="encode")
        values = max(len(column.dictionary), 1)
        if keys * values >= 2**63:  # only where every row is almost a key of its own
            different, key = np.unique(key, return_inverse=True)
            keys = len(different)
        key, keys = key * values + column.indices.to_numpy(), keys * values
    return np.unique(key, return_inverse=True)[1]


def places(annotations: pa.Table) -> np.ndarray:
    """For each row its place in time; those without a time come first, rows of one time in their
    order.
    """
    # "yesterday" is no time, and would be later than all.
    times = annotations["created_at"]
    dated = pc.match_substring_regex(times, DATED)
    times = pc.if_else(dated, times, pa.scalar(None, pa.string()))
    rows = pa.table({"time": times, "row": np.arange(annotations.num_rows)})
    order = pc.sort_indices(
        rows,
        sort_keys=[(name, "ascending", "at_start") for name in rows.column_names],
    ).to_numpy()
    place = np.empty(order.size, np.int64)
    place[order] = np.arange(order.size)
    return place


def different_rows(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different rows of a matrix of counts, for each row which of them it is, and how many rows
    each is.
    """
    base = int(counts.max(initial=0)) + 1
    if base ** counts.shape[1] >= 2**62:
        rows, place, frequency = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
        return rows, place.ravel(), frequency
    # Rows as one number each: sorting numbers is faster than sorting rows.
    numbers = counts @ base ** np.arange(counts.shape[1], dtype=np.int64)
    _, first, place, frequency = np.unique(
        numbers, return_index=True, return_inverse=True, return_counts=True
    )
    return counts[first], place, frequency


def pairs_within(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places i and j of every two entries of the same group, each pair once."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    left, distance = np.arange(len(ordered)), 0
    while len(left):
        distance += 1
        left = left[left + distance < len(ordered)]
        left = left[ordered[left] == ordered[left + distance]]
        first.append(order[left])
        second.append(order[left + distance])
    return np.concatenate(first or [left]), np.concatenate(second or [left])
