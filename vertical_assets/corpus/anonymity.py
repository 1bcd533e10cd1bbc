"""k-anonymity: what is said of authors is widened until at least k people share it (SPEC X1).

Top-down over the hierarchies of the YAML: all start as `*`; step by step a group says more of one
attribute, the one that wins back most information, as long as nobody ends in a group of fewer
than k. So one rare value costs its own neighbours only (multidimensional recoding: LeFevre et
al., "Mondrian Multidimensional K-Anonymity", 2006; top-down: Fung et al., "Top-Down Specialization
for Information and Privacy Preservation", 2005). pycanon judges the result.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.spec.corpus import Attributes
from vertical_assets.store.contracts import AUTHOR_ATTRIBUTES

SUPPRESSED = "*"
JUDGED_CLASSES = 5
QUANTILES = 100

Steps = Sequence[float] | Mapping[str, str]


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
class Generalised:
    """The quasi-identifiers of each person as they may be said, and `people`, the class's size."""

    rows: pa.Table
    information_loss: float
    unplaced: dict[str, int]


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
        return value.strip() or None if value else None
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def generalise(people: pa.Table, attributes: Attributes) -> Generalised:
    """Widens the quasi-identifiers until at least k people share each combination.

    What becomes of a row doesn't depend on the order of the rows. A missing value is a value. A
    value that its hierarchy doesn't know, e.g. a word among numbers, is said exactly or not at
    all. Of fewer than k people in all nothing is said.

    Args:
        people: a row for each person, with a column of strings for each quasi-identifier.
        attributes: k and the hierarchies.
    """
    names = attributes.quasi_identifiers
    trees = [_Tree.of(people[name], attributes.hierarchies.get(name, ())) for name in names]
    first, row = distinct([people[name] for name in names])
    codes = np.stack([tree.codes[first] for tree in trees], axis=1)
    weights = np.bincount(row, minlength=len(first))
    depths = _specialise(codes, weights, trees, attributes.k)
    values, lost = [], 0.0
    for a, tree in enumerate(trees):
        nodes = tree.nodes[codes[:, a], depths[:, a]]
        values.append(pa.array(tree.labels, pa.string()).take(pa.array(nodes)))
        lost += float(weights @ tree.losses[codes[:, a], depths[:, a]])
    _, classes = distinct(values)
    sizes = np.bincount(classes, weights)[classes].astype(np.int64)
    return Generalised(
        pa.table([*values, pa.array(sizes)], names=[*names, "people"]).take(pa.array(row)),
        lost / max(1, people.num_rows) / len(names),
        {
            name: int(tree.unplaced[tree.codes].sum())
            for name, tree in zip(names, trees, strict=True)
            if tree.unplaced.any()
        },
    )


def _specialise(
    codes: NDArray[np.int64], weights: NDArray[np.int64], trees: Sequence["_Tree"], k: int
) -> NDArray[np.int64]:
    """How deep in its tree each value of each distinct row may be said; all groups step at once.

    In a step, the children of a group's node that hold k people leave it as groups of their own.
    The others stay behind together, with the smallest of the leavers where they are too few.
    """
    depths = np.zeros_like(codes)
    group = np.zeros(len(codes), np.int64)
    while len(codes):
        groups = int(group.max()) + 1
        best = np.full(groups, -1.0)
        leaves = np.zeros(len(codes), bool)
        chosen = np.zeros(groups, np.int64)
        for a, tree in enumerate(trees):
            last = tree.nodes.shape[1] - 1
            deeper = np.minimum(depths[:, a] + 1, last)
            kids, kid = np.unique(
                group * len(tree.labels) + tree.nodes[codes[:, a], deeper], return_inverse=True
            )
            sizes = np.bincount(kid, weights)
            owner = kids // len(tree.labels)
            enough = sizes >= k
            behind = np.bincount(owner, np.where(enough, 0, sizes), groups)
            ranked = np.lexsort((sizes, owner))
            ranked = ranked[enough[ranked]]
            smallest = ranked[np.unique(owner[ranked], return_index=True)[1]]
            short = (behind[owner[smallest]] > 0) & (behind[owner[smallest]] < k)
            enough[smallest[short]] = False
            moves = enough[kid] & (depths[:, a] < last)
            losses = tree.losses[codes[:, a]]
            rows = np.arange(len(codes))
            won = weights * moves * (losses[rows, depths[:, a]] - losses[rows, deeper])
            gain = np.where(np.bincount(group, moves, groups) > 0, 0.0, -1.0)
            gain += np.bincount(group, won, groups)
            better = gain > best
            best[better], chosen[better] = gain[better], a
            leaves = np.where(better[group], moves, leaves)
        if best.max() < 0.0:
            break
        step = leaves & (best[group] >= 0.0)
        attribute = chosen[group]
        depths[step, attribute[step]] += 1
        widest = max(len(tree.labels) for tree in trees) + 1
        node = np.zeros(len(codes), np.int64)
        for a, tree in enumerate(trees):
            mine = step & (attribute == a)
            node[mine] = tree.nodes[codes[mine, a], depths[mine, a]] + 1
        group = np.unique(group * widest + node, return_inverse=True)[1]
    return depths


@dataclass(frozen=True)
class _Tree:
    """An attribute's hierarchy over the values that occur: each value's way from `*` to itself."""

    codes: NDArray[np.int64]  # row -> value
    nodes: NDArray[np.int64]  # value, depth -> label
    losses: NDArray[np.float64]  # value, depth -> NCP of being said that widely
    labels: list[str | None]
    unplaced: NDArray[np.bool_]  # value -> whether the hierarchy doesn't know it

    @classmethod
    def of(cls, column: pa.ChunkedArray, steps: Steps) -> "_Tree":
        """Losses are the normalised certainty penalty (Xu et al., "Utility-Based Anonymization
        Using Local Recoding", 2006): a range's share of the whole range, or the share of the
        values that a wider word covers; 0 for an exact value, 1 for `*`.
        """
        values = sorted(column.unique().to_pylist(), key=lambda value: (value is not None, value))
        codes = pc.index_in(column, pa.array(values, pa.string())).to_numpy().astype(np.int64)
        ways = [_way(value, steps) for value in values]
        depth = max((len(way) for way in ways), default=1)
        padded = [way + way[-1:] * (depth - len(way)) for way in ways]
        labels = list(dict.fromkeys(label for way in padded for label in way))
        number = {label: i for i, label in enumerate(labels)}
        nodes = np.array([[number[label] for label in way] for way in padded], np.int64)
        nodes = nodes.reshape(len(values), depth)
        losses = np.zeros(nodes.shape)
        if isinstance(steps, Mapping):
            for d in range(depth):
                covered = np.bincount(nodes[:, d], minlength=len(labels))[nodes[:, d]]
                losses[:, d] = np.where(covered > 1, covered / max(1, len(values)), 0.0)
        elif steps:
            numbers = [x for x in map(_number, values) if x is not None]
            span = max(numbers, default=0.0) - min(numbers, default=0.0)
            placed = np.array([len(way) > 2 for way in ways], bool)
            for d, width in enumerate(reversed(steps), 1):
                losses[placed, d] = min(1.0, width / span) if span else 1.0
        losses[nodes == number.get(SUPPRESSED, -1)] = 1.0
        known = set(steps.values()) if isinstance(steps, Mapping) else set()
        unplaced = np.array(
            [
                bool(steps) and value is not None and len(way) < 3 and value not in known
                for value, way in zip(values, ways, strict=True)
            ],
            bool,
        )
        return cls(codes, nodes, losses, labels, unplaced)


def _way(value: str | None, steps: Steps) -> list[str | None]:
    """A value's generalisations, widest first, the value itself last."""
    if value is None:
        return [SUPPRESSED, None]
    if isinstance(steps, Mapping):
        way = [value]
        while way[-1] in steps:
            way.append(steps[way[-1]])
    elif steps and (x := _number(value)) is not None:
        way = [f"{x:.12g}"]
        narrowest = math.floor(x / steps[0] + 1e-9)
        for width in steps:
            low = narrowest // round(width / steps[0]) * width
            way.append(f"[{low:.12g}, {low + width:.12g})")
    else:
        way = [value]
    return [SUPPRESSED, *(label for label in reversed(way) if label != SUPPRESSED)]


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def distinct(columns: Sequence[pa.ChunkedArray]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that stand for the distinct combinations, in order of their values, and each row's."""
    rows = len(columns[0])
    codes = np.zeros(rows, np.int64)
    for column in columns:
        ranks = pc.rank(column, tiebreaker="dense").to_numpy()
        joint = codes * (rows + 1) + ranks.astype(np.int64)
        _, first, codes = np.unique(joint, return_index=True, return_inverse=True)
    return first, codes


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
    numbers = np.array([_number(word) for word in words], float)
    distinct = np.unique(numbers)
    if np.isnan(numbers).any() or len(distinct) < 2:
        return words, words
    if len(distinct) > QUANTILES:
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
