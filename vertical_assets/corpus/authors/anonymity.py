"""Anonymity: what documents say of their authors, said so that k people share it (SPEC X1).

`generalisation` widens the values, pycanon judges the result, and `meta` carries the wider ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.authors.generalisation import (
    SUPPRESSED,
    Generalised,
    distinct,
    generalise,
    number_of,
)
from vertical_assets.spec.corpus import Attributes
from vertical_assets.store.contracts import AUTHOR_ATTRIBUTES

JUDGED_CLASSES = 5
QUANTILES = 100


@dataclass(frozen=True)
class Anonymity:
    """What was achieved: k, l and t by pycanon, over everybody who is not wholly suppressed."""

    people: int
    suppressed: int  # people of whom nothing is said any more
    classes: int
    median: float  # people in a class; the smallest class holds k
    largest: int
    information_loss: float  # NCP: 0 nothing was widened, 1 all is `*`
    discernibility: int  # by how many people a person can't be told from, summed over all
    k: int | None  # None: nothing is said of anybody
    l: int | None  # noqa: E741 - the literature's name; None also where nothing is sensitive
    t: float | None
    unplaced: Mapping[str, int]  # attribute -> people whose value its hierarchy doesn't know


@dataclass(frozen=True)
class AuthorAttributes:
    """AUTHOR_ATTRIBUTES in the documents' order, and the report."""

    rows: pa.Table
    report: Anonymity


def author_attributes(
    documents: Iterable[pa.RecordBatch], attributes: Attributes
) -> AuthorAttributes:
    """Generalises what the documents' `meta` says of their authors.

    An author is one person however many documents there are: of contradicting documents, the
    values that most of them give count (of equally many, the first in order). A document without
    `author_id` is a person of its own. A document that says nothing of its author has no row.

    Args:
        documents: batches with columns `doc_id`, `author_id`, `meta`.
        attributes: section `deidentify.attributes`.
    """
    names = [*attributes.quasi_identifiers, *attributes.sensitive]
    said = pa.Table.from_batches(
        (read_attributes(batch, names) for batch in documents), _said(names)
    )
    counted = said.group_by(["person", *names]).aggregate([([], "count_all")])
    order = [("count_all", "descending"), *((name, "ascending") for name in names)]
    counted = counted.sort_by([("person", "ascending"), *order])
    people = counted.take(pa.array(distinct([counted["person"]])[0]))
    generalised = generalise(people.select(names), attributes)
    values = generalised.rows.select(list(attributes.quasi_identifiers))
    first, codes = distinct([values[name] for name in values.column_names])
    texts = pa.array(
        [
            json.dumps(
                {name: value for name, value in row.items() if value is not None},
                ensure_ascii=False,
                sort_keys=True,
            )
            for row in values.take(pa.array(first)).to_pylist()
        ],
        pa.string(),
    )
    who = pc.index_in(said["person"], people["person"])
    rows = pa.table(
        [
            said["doc_id"],
            texts.take(pa.array(codes)).take(who.combine_chunks()),
            generalised.rows["people"].take(who),
        ],
        schema=AUTHOR_ATTRIBUTES,
    )
    return AuthorAttributes(rows, judge(people.select(names), generalised, attributes))


def _said(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in ("doc_id", "person", *names)])


def read_attributes(documents: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Entries of `meta` as columns of strings; documents that have none of them have no row.

    Returns:
        pa.RecordBatch: `doc_id`, `person`, and a column for each name.
    """
    found = [json.loads(meta) for meta in documents["meta"].to_pylist()]
    columns = [pa.array([_text(entry.get(name)) for entry in found], pa.string()) for name in names]
    person = person_of(documents["doc_id"], documents["author_id"])
    rows = pa.RecordBatch.from_arrays([documents["doc_id"], person, *columns], schema=_said(names))
    says = np.zeros(rows.num_rows, bool)
    for column in columns:
        says |= pc.is_valid(column).to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(says))


def person_of(doc_id: pa.ChunkedArray, author_id: pa.ChunkedArray) -> pa.ChunkedArray:
    """Who wrote each document: its author, or somebody of its own where that isn't known."""
    return pc.coalesce(
        pc.binary_join_element_wise("author", author_id, ":"),
        pc.binary_join_element_wise("document", doc_id, ":"),
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def judge(people: pa.Table, generalised: Generalised, attributes: Attributes) -> Anonymity:
    """The report: k, l and t are pycanon's.

    pycanon compares every class with every value one by one. To l and t it is therefore shown the
    worst classes of each sensitive attribute, found here, and all others as one: a mixture is at
    least as diverse, and at most as far from the whole, as the worst of its parts, so both stay
    exact. Numbers with more than `QUANTILES` values are judged by quantile.

    Args:
        people: a row for each person, with the sensitive attributes.
        generalised: what became of them.
        attributes: which are which.
    """
    names = list(attributes.quasi_identifiers)
    rows = generalised.rows
    nothing = np.ones(rows.num_rows, bool)
    for name in names:
        nothing &= pc.equal(rows[name], SUPPRESSED).fill_null(False).to_numpy()
    said = rows.filter(pa.array(~nothing))
    _, classes = distinct([said[name] for name in names])
    sizes = np.bincount(classes)
    k: int | None = None
    diversities: list[int] = []
    distances: list[float] = []
    if said.num_rows:
        import pandas as pd
        from pycanon.anonymity import k_anonymity, l_diversity, t_closeness

        k = int(k_anonymity(said.select(names).to_pandas().fillna(""), names))
        for name in attributes.sensitive:
            exact, compared = _sensitive(people[name].filter(pa.array(~nothing)))
            worst = _worst(classes, exact, compared)
            shown = np.isin(classes, worst)
            if compared.dtype.kind == "O":  # words that the shown classes lack can't be told apart
                compared = np.where(np.isin(compared, compared[shown]), compared, SUPPRESSED)
            table = pd.DataFrame(
                {"class": np.where(shown, classes, -1), "exact": exact, "compared": compared}
            )
            diversities.append(int(l_diversity(table, ["class"], ["exact"])))
            distances.append(float(t_closeness(table, ["class"], ["compared"])))
    return Anonymity(
        people=rows.num_rows,
        suppressed=int(nothing.sum()),
        classes=len(sizes),
        median=float(np.median(sizes)) if len(sizes) else 0.0,
        largest=int(sizes.max(initial=0)),
        information_loss=generalised.information_loss,
        discernibility=int((sizes**2).sum() + nothing.sum() * rows.num_rows),
        k=k,
        l=min(diversities, default=None),
        t=max(distances, default=None),
        unplaced=generalised.unplaced,
    )


def _sensitive(column: pa.ChunkedArray) -> tuple[NDArray[np.object_], NDArray[Any]]:
    """The values as words, and as what t compares: numbers where all are (distance in order)."""
    words = np.array(column.fill_null("").to_pylist(), object)
    numbers = np.array([number_of(word) for word in words], float)
    different = len(np.unique(numbers))
    if np.isnan(numbers).any() or different < 2:
        return words, words
    if different > QUANTILES:
        cuts = np.quantile(numbers, np.arange(1, QUANTILES) / QUANTILES)
        numbers = np.searchsorted(np.unique(cuts), numbers, side="right").astype(float)
    return words, numbers


def _worst(
    classes: NDArray[np.int64], exact: NDArray[np.object_], compared: NDArray[Any]
) -> NDArray[np.int64]:
    """The classes of least distinct l-diversity and of greatest distance from the whole.

    Li et al., "t-Closeness" (2007): the earth mover's distance over equally distant words is half
    the sum of |q - p|; over m ordered numbers it is the sum of |Q - P| by m - 1.
    """
    count = int(classes.max()) + 1
    sizes = np.bincount(classes)
    _, words = np.unique(exact.astype(str), return_inverse=True)
    held, times = np.unique(classes * (words.max() + 1) + words, return_counts=True)
    owner, word = np.divmod(held, words.max() + 1)
    if compared.dtype.kind == "O":
        over = times / sizes[owner] - (np.bincount(words) / len(words))[word]
        distance = np.bincount(owner, np.maximum(0.0, over), count)
    else:
        _, rank = np.unique(compared, return_inverse=True)
        m = int(rank.max()) + 1
        shares = np.bincount(classes * m + rank, minlength=count * m).reshape(count, m)
        apart = np.cumsum(shares / sizes[:, None] - np.bincount(rank) / len(rank), axis=1)
        distance = np.abs(apart).sum(axis=1) / (m - 1)
    diversity = np.bincount(owner, minlength=count)
    return np.union1d(
        np.argsort(diversity, kind="stable")[:JUDGED_CLASSES],
        np.argsort(-distance, kind="stable")[:JUDGED_CLASSES],
    )


def replace_attributes(meta: pa.Array, generalised: pa.Array, attributes: Attributes) -> pa.Array:
    """Puts the generalised entries in the place of the exact ones.

    Args:
        meta: the documents' `meta`.
        generalised: their `attributes` of AUTHOR_ATTRIBUTES, row by row; null where a document
            has no row there.
        attributes: section `deidentify.attributes`.

    Raises:
        ValueError: a document without a row does say something of its author.
    """
    replaced = []
    for text, said in zip(meta.to_pylist(), generalised.to_pylist(), strict=True):
        entry = json.loads(text)
        exact = [
            name
            for name in attributes.quasi_identifiers
            if _text(entry.pop(name, None)) is not None
        ]
        if said is None and exact:
            raise ValueError(
                f"a document's meta has {exact}, but author_attributes has no row for it: "
                "its table is older than the documents; materialize author_attributes again"
            )
        entry.update(json.loads(said or "{}"))
        replaced.append(json.dumps(entry, ensure_ascii=False, sort_keys=True))
    return pa.array(replaced, pa.string())
