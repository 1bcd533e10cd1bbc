"""The draw: which of a month's items a second annotator sees (SPEC D8).

Stratified by who annotated an item first in the month: of each person's items the given share,
rounded up, those with the least hash of seed, month and item. What was drawn before stays drawn, so
that labels which come late take no task away from people.
"""

import math
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import xxhash

from vertical_assets.labels.statements import moment
from vertical_assets.labels.votes import MACHINES

Item = tuple[str, str | None]  # item_id, question


@dataclass(frozen=True)
class Drawn:
    """An item for a second annotator.

    Attributes:
        item: its id and question.
        stratum: who annotated it first in the month.
        annotators: all who ever annotated it.
    """

    item: Item
    stratum: str
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class Draw:
    """A month's sample, in random order.

    Attributes:
        drawn: the sample.
        items: items annotated in the month.
        undated: annotations of any month that do not say when they were made.
    """

    drawn: tuple[Drawn, ...]
    items: int
    undated: int


def draw(
    annotations: pa.Table, month: str, share: float, seed: int, before: Container[Item] = ()
) -> Draw:
    """Draws the items that a second annotator gets.

    Args:
        annotations: ANNOTATIONS of all months.
        month: YYYY-MM, of `created_at` in UTC (times without a zone are UTC).
        share: of each stratum.
        seed: the vertical's.
        before: items that an earlier draw of this month gave out.
    """
    first: dict[Item, tuple[str, str]] = {}
    people: dict[Item, set[str]] = defaultdict(set)
    undated = 0
    names = ("item_id", "question", "annotator_id", "annotator_kind", "created_at")
    for item_id, question, who, kind, at in zip(
        *(annotations[name].to_pylist() for name in names), strict=True
    ):
        item = (item_id, question)
        people[item].add(who)
        made = time_of(at)
        undated += made is None
        if made is not None and kind not in MACHINES and made.startswith(month):
            first[item] = min(first.get(item, (made, who)), (made, who))
    strata: dict[str, list[Item]] = defaultdict(list)
    for item, (_, who) in first.items():
        strata[who].append(item)
    chosen = []
    for who, items in strata.items():
        items.sort(key=lambda item: (item not in before, _rank(item, month, seed), item[0]))
        # Without the margin 0.1 of 30 would be 4, by binary fractions.
        wanted = math.ceil(share * len(items) - 1e-9)
        kept = [item for place, item in enumerate(items) if place < wanted or item in before]
        chosen += [Drawn(item, who, tuple(sorted(people[item]))) for item in kept]
    chosen.sort(key=lambda each: (_rank(each.item, month, seed), each.item[0]))
    return Draw(tuple(chosen), len(first), undated)


def time_of(created_at: str | None) -> str | None:
    """A time as UTC in ISO 8601, which sorts; None where it is no time."""
    said = moment(created_at)
    try:
        datetime.fromisoformat(said or "")
    except ValueError:
        return None
    return said


def _rank(item: Item, month: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest("\0".join((str(seed), month, item[0], item[1] or "")).encode())
