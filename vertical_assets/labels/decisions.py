"""Decisions: what several annotators' targets of one item come to, and how surely (SPEC D8).

| task.kind | gold | disputed |
|---|---|---|
| multi_label | the labels that more than half gave | a label that exactly half gave |
| entities, question_answering | the spans that more than half gave | a span that exactly half \
gave; a place where more than half gave one, but no majority the same |
| regression | the median | half or fewer are within `tolerance` of it |

Confidence is the share of the annotators behind the weakest of the decisions that make the gold:
for or against each label or span that anybody gave; for a number, the share within `tolerance`.
Reasons for a dispute are votes: what was said -> number of annotators.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from vertical_assets.labels.targets import Span, Target
from vertical_assets.spec import TaskKind


@dataclass(frozen=True)
class Decision:
    """The gold target with its confidence; no target where the annotators are split."""

    target: Target | None
    confidence: float
    votes: dict[str, int]


def decide(
    said: Sequence[Target], kind: TaskKind, labels: Sequence[str], tolerance: float
) -> Decision:
    """What one item's annotators come to.

    Args:
        said: each annotator's target.
        kind: of the task, but classification.
        labels: of the standard, in its order.
        tolerance: how far from the median a number still agrees with it.
    """
    if kind == "regression":
        return _median(cast("Sequence[float]", said), tolerance)
    if kind == "multi_label":
        sets = [cast("tuple[str, ...]", each) for each in said]
        votes = Counter(label for each in sets for label in each)
        majority = tuple(label for label in labels if 2 * votes[label] > len(said))
        split = any(2 * count == len(said) for count in votes.values())
        return _decision(majority, votes, len(said), split, {k: votes[k] for k in sorted(votes)})
    return _spans([cast("tuple[Span, ...]", each) for each in said])


def _median(values: Sequence[float], tolerance: float) -> Decision:
    middle = float(np.median(values))
    # The margin is for binary fractions: 4.6 is within 0.4 of 4.2.
    near = float(np.mean(np.abs(np.array(values) - middle) <= tolerance * (1 + 1e-9)))
    votes = {f"{value:g}": count for value, count in sorted(Counter(values).items())}
    return Decision(middle if 2 * near > 1 else None, near, votes)


def _spans(said: Sequence[tuple[Span, ...]]) -> Decision:
    votes = Counter(span for each in said for span in each)
    majority = tuple(sorted(span for span, count in votes.items() if 2 * count > len(said)))
    split = any(2 * count == len(said) for count in votes.values()) or any(
        2 * len(people) > len(said) for people in _places_without(majority, said)
    )
    named = {f"{s.start}-{s.end} {s.label}": votes[s] for s in sorted(votes)}
    nothing = sum(not each for each in said)
    return _decision(
        majority, votes, len(said), split, named | ({"no span": nothing} if nothing else {})
    )


def _places_without(majority: Sequence[Span], said: Sequence[tuple[Span, ...]]) -> list[set[int]]:
    """Annotators by place: runs of text that spans cover, none of them a majority's."""
    every = sorted(
        (span, who) for who, spans in enumerate(said) for span in spans if span not in majority
    )
    people: list[set[int]] = []
    end = -1
    for span, who in every:
        if any(span.start < gold.end and gold.start < span.end for gold in majority):
            continue  # a minority's idea of a span that is decided
        if span.start >= end:
            people.append(set())
        people[-1].add(who)
        end = max(end, span.end)
    return people


def _decision(
    majority: tuple[str, ...] | tuple[Span, ...],
    votes: Counter[str] | Counter[Span],
    people: int,
    split: bool,
    named: dict[str, int],
) -> Decision:
    shares = [max(count, people - count) / people for count in votes.values()]
    return Decision(None if split else majority, min(shares, default=1.0), named)
