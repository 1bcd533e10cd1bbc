"""Selection: which items are labelled next, and by which strategy each was chosen (SPEC D7).

| strategy | chooses |
|---|---|
| relabel | the head of the relabel queue: what the error report doubts |
| random | uniformly, by hash: an honest picture of the corpus |
| uncertainty | what the released model is least sure of |
| diversity | what is far from everything labelled or chosen already, see `diversity` |

In this order; nothing is chosen twice. Places that a strategy can't fill are drawn at random.
Uncertainty is measured as in Settles 2009, "Active Learning Literature Survey", section 3.1.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertical_assets.labels.tasks.diversity import furthest_first, text_vectors
from vertical_assets.labels.tasks.pool import Document
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.tasks import Measure, Strategy

ORDER: tuple[Strategy, ...] = ("relabel", "random", "uncertainty", "diversity")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """An item to be labelled; `score` is what the strategy orders by."""

    item_id: str
    question: str | None
    text: str
    strategy: Strategy
    score: float | None
    reason: str


def choose(
    pool: Sequence[Document],
    said: Mapping[str, Row],
    queue: Sequence[Row],
    labeled_texts: Sequence[str],
    spec: VerticalSpec,
) -> list[Chosen]:
    """Up to `annotation.tasks.count` items, by strategy.

    Args:
        pool: documents that want labels, in random order.
        said: item_id -> row of PRELABELS.
        queue: rows of RELABEL_QUEUE, the most urgent first.
        labeled_texts: what diversity keeps away from.
        spec: `annotation.tasks`, `task`, `language`, `seed`.
    """
    settings = spec.annotation.tasks
    doubts = uncertainties(pool, said, settings.uncertainty, len(spec.labels))
    available = {
        "relabel": len(queue),
        "random": len(pool),
        "uncertainty": len(doubts),
        "diversity": len(pool),
    }
    places = _places(settings.strategies, settings.count, available)
    chosen = [
        Chosen(
            row["item_id"],
            row["question"],
            row["text"],
            "relabel",
            row["score"],
            ", ".join(row["reasons"]),
        )
        for row in queue[: places["relabel"]]
    ]
    taken = {each.item_id for each in chosen}

    def left() -> list[Document]:
        return [document for document in pool if document.item_id not in taken]

    def add(found: Iterator[Chosen]) -> None:
        for each in found:
            chosen.append(each)
            taken.add(each.item_id)

    add(_at_random(left()[: places["random"]]))
    doubtful = sorted(
        (each for each in left() if each.item_id in doubts),
        key=lambda each: (-doubts[each.item_id], each.item_id),
    )
    add(_uncertain(doubtful[: places["uncertainty"]], doubts, settings.uncertainty))
    if places["diversity"]:
        around = [*labeled_texts, *(each.text for each in chosen)]
        add(_diverse(left(), around, places["diversity"], spec))
    add(_at_random(left()[: settings.count - len(chosen)]))
    return chosen


def uncertainties(
    pool: Sequence[Document], said: Mapping[str, Row], measure: Measure, labels: int
) -> dict[str, float]:
    """item_id -> how unsure the model is, 0 to 1, of the documents it says something of.

    Least confidence is 1 - confidence, margin 1 - (first - second), entropy a share of its maximum
    ln(labels).
    """
    rows = [(each.item_id, said[each.item_id]) for each in pool if each.item_id in said]
    if measure == "entropy":
        most = math.log(max(labels, 2))
        return {item: row["entropy"] / most for item, row in rows if row["entropy"] is not None}
    column = "confidence" if measure == "least_confidence" else "margin"
    return {item: 1.0 - row[column] for item, row in rows if row[column] is not None}


def _places(
    shares: Mapping[Strategy, float], count: int, available: Mapping[str, int]
) -> dict[Strategy, int]:
    """Places of each strategy by largest remainders; what can't be filled goes to random."""
    exact = {each: count * shares.get(each, 0.0) for each in ORDER}
    places = {each: math.floor(value + 1e-9) for each, value in exact.items()}
    by_remainder = sorted(ORDER, key=lambda each: (places[each] - exact[each], ORDER.index(each)))
    for each in by_remainder[: count - sum(places.values())]:
        places[each] += 1
    for each in ORDER:
        if each != "random" and places[each] > available[each]:
            places["random"] += places[each] - available[each]
            places[each] = available[each]
    return places


def _at_random(documents: Sequence[Document]) -> Iterator[Chosen]:
    for item_id, text in documents:
        yield Chosen(item_id, None, text, "random", None, "drawn at random")


def _uncertain(
    documents: Sequence[Document], doubts: Mapping[str, float], measure: Measure
) -> Iterator[Chosen]:
    for item_id, text in documents:
        reason = f"the model is unsure ({measure.replace('_', ' ')} {doubts[item_id]:.3f})"
        yield Chosen(item_id, None, text, "uncertainty", doubts[item_id], reason)


def _diverse(
    documents: Sequence[Document], around: Sequence[str], count: int, spec: VerticalSpec
) -> Iterator[Chosen]:
    if not documents:
        return
    vectors = text_vectors([*(each.text for each in documents), *around], spec)
    own, others = np.split(vectors, [len(documents)])
    for row, distance in furthest_first(own, others, count):
        reason = f"unlike everything labelled or chosen (cosine distance {distance:.3f})"
        item_id, text = documents[row]
        yield Chosen(item_id, None, text, "diversity", distance, reason)
