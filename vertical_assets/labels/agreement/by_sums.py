"""Agreement on sets of labels and spans: nominal alpha as a function of sums over items (D8).

| task.kind | units |
|---|---|
| multi_label | item and label: has it or not; the mean of the labels' alphas |
| entities, question_answering | characters: outside, first of or inside a span |

Characters rather than words: an end that is off by one letter counts, in every language. All alphas
are Krippendorff's (2011, "Computing Krippendorff's Alpha-Reliability"), in closed form: the library
`krippendorff` makes units x values x values numbers, too many for characters. The tests compare
both. Since every figure is a sum over items, the bootstrap draws items, not characters, which
depend on each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import numpy as np
import pyarrow as pa

from vertical_assets.labels.agreement.alpha import AT_ONCE, units_of
from vertical_assets.labels.agreement.rows import MOST_PAIRS, row
from vertical_assets.labels.targets import Span, Target, targets_of
from vertical_assets.spec import TaskKind, VerticalSpec

Judged = Mapping[str, Target]  # annotator -> what they said of one item


@dataclass(frozen=True)
class Sums:
    """Items x figures, and how alpha is made of the figures' sums.

    For each of `questions` the counts of its values, then their observed agreement
    sum_u sum_c n_uc (n_uc - 1) / (m_u - 1).
    """

    values: np.ndarray
    questions: int = 1

    def alpha(self, weights: np.ndarray | None = None) -> float:
        """Of all items, each as often as `weights` says; nan where there is none."""
        if not len(self.values):
            return float("nan")
        every = self.values if weights is None else self.values * weights[:, None]
        return float(self._alpha(every.sum(axis=0)))

    def resampled(self, rounds: int, seed: int) -> np.ndarray:
        """Alpha of `rounds` resamples of the items, drawn with replacement."""
        rng, items = np.random.default_rng(seed), len(self.values)
        found: list[np.ndarray] = []
        block = max(1, AT_ONCE // max(items, 1))
        for start in range(0, rounds if items else 0, block):
            size = min(block, rounds - start)
            drawn = rng.multinomial(items, np.full(items, 1 / items), size=size)
            found.append(self._alpha(drawn @ self.values))
        return np.concatenate([np.empty(0), *found])

    def _alpha(self, sums: np.ndarray) -> np.ndarray:
        parts = sums.reshape(*sums.shape[:-1], self.questions, -1)
        counts, agreed = parts[..., :-1], parts[..., -1]
        total = counts.sum(axis=-1)
        chance = total**2 - (counts**2).sum(axis=-1)
        ratio = (total - 1) * np.divide(
            total - agreed, chance, out=np.zeros_like(agreed), where=chance > 0
        )
        # Where all values are equal there is nothing to disagree on: left out of the mean.
        defined = (chance > 0).sum(axis=-1)
        lost = np.where(chance > 0, ratio, 0.0).sum(axis=-1)
        return 1.0 - np.divide(lost, defined, out=np.zeros_like(lost), where=defined > 0)


def judged_items(annotations: pa.Table, kind: TaskKind) -> tuple[list[Judged], list[int]]:
    """(what each annotator said, characters of the text), for every item or question that at least
    two annotators judged.
    """
    found: dict[tuple[str, str | None], dict[str, Target]] = {}
    lengths: dict[tuple[str, str | None], int] = {}
    columns = ("item_id", "question", "annotator_id", "characters")
    rows = zip(*(annotations[name].to_pylist() for name in columns), strict=True)
    for (item, question, who, characters), target in zip(
        rows, targets_of(annotations, kind), strict=True
    ):
        found.setdefault((item, question), {})[who] = target
        # A batch that was read before the text was changed may know a longer one.
        lengths[item, question] = max(characters or 0, lengths.get((item, question), 0))
    several = [key for key, said in found.items() if len(said) > 1]
    return [found[key] for key in several], [lengths[key] for key in several]


def sums_of(
    judged: Sequence[Sequence[Target]],
    lengths: Sequence[int],
    labels: Sequence[str],
    kind: TaskKind,
) -> Sums:
    """Sums of items, each with at least two annotators' targets.

    Args:
        judged: targets of each item.
        lengths: characters of each item's text, where targets are spans.
        labels: labels or types that count; spans of others are taken as outside.
        kind: of the task.
    """
    if kind == "multi_label":
        sets = [[set(cast("tuple[str, ...]", each)) for each in said] for said in judged]
        rows = [_labels(said, labels) for said in sets]
        return Sums(np.array(rows).reshape(-1, 3 * len(labels)), len(labels))
    spans = [[cast("tuple[Span, ...]", each) for each in said] for said in judged]
    values = 1 + 2 * len(labels)
    rows = [_characters(said, n, labels) for said, n in zip(spans, lengths, strict=True)]
    return Sums(np.array(rows).reshape(-1, values + 1))


def _labels(said: Sequence[set[str]], labels: Sequence[str]) -> list[float]:
    figures: list[float] = []
    for label in labels:
        yes = sum(label in each for each in said)
        no = len(said) - yes
        figures += [no, yes, (yes * (yes - 1) + no * (no - 1)) / (len(said) - 1)]
    return figures


def _characters(said: Sequence[Sequence[Span]], length: int, labels: Sequence[str]) -> list[float]:
    counts = character_counts(said, length, labels)
    agreed = (counts * (counts - 1)).sum() / (len(said) - 1)
    return [*counts.sum(axis=0).tolist(), float(agreed)]


def character_counts(
    said: Sequence[Sequence[Span]], length: int, labels: Sequence[str]
) -> np.ndarray:
    """Characters x (1 + 2 x labels): how many annotators have each character outside spans, at the
    beginning or inside of a span of each label.
    """
    codes = {label: 1 + 2 * number for number, label in enumerate(labels)}
    tags = np.zeros((len(said), length), np.int64)
    for who, spans in enumerate(said):
        for span in spans:
            if span.label in codes:
                tags[who, span.start] = codes[span.label]
                tags[who, span.start + 1 : span.end] = codes[span.label] + 1
    values = 1 + 2 * len(labels)
    flat = tags + values * np.arange(length)
    return np.bincount(flat.ravel(), minlength=values * length).reshape(length, values)


def equal_pairs(judged: Iterable[Sequence[Target]]) -> float:
    """Share of the pairs of annotators of one item that said exactly the same."""
    pairs = [a == b for said in judged for a, b in combinations(said, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")


def span_f1(judged: Iterable[Sequence[Target]]) -> float:
    """F1 of one annotator's spans against another's, over all pairs (Hripcsak and Rothschild 2005,
    "Agreement, the F-measure, and reliability in information retrieval").
    """
    common = given = 0
    for said in judged:
        for a, b in combinations([set(cast("tuple[Span, ...]", each)) for each in said], 2):
            common += len(a & b)
            given += len(a) + len(b)
    return 2 * common / given if given else float("nan")


def overall(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Alpha with its interval; AC1 of sets of labels, the labels' mean; percent; F1 of spans."""
    kind = spec.task.kind
    judged, lengths = judged_items(annotations, kind)
    every = [list(said.values()) for said in judged]
    sums = sums_of(every, lengths, spec.task.answers, kind)
    drawn = sums.resampled(spec.agreement.bootstrap, spec.seed)
    rows = [row("overall", "all", "alpha", sums.alpha(), len(every), drawn)]
    if kind == "multi_label":
        ac1 = np.mean([label_ac1(every, label) for label in spec.labels])
        rows.append(row("overall", "all", "ac1", float(ac1), len(every)))
    return [*rows, *_plain_rows("overall", "all", every, kind)]


def details(annotations: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    """Rows by label or type, by pair of annotators, and by annotator against all others of the
    same items, who count one annotator together.
    """
    kind, labels = spec.task.kind, spec.task.answers
    judged, lengths = judged_items(annotations, kind)
    every = [list(said.values()) for said in judged]
    rows = []
    for label in labels if kind in ("multi_label", "entities") else ():
        if any(_has(target, label) for said in every for target in said):
            one = sums_of(every, lengths, [label], kind)
            rows.append(row("class", label, "alpha", one.alpha(), len(every)))
            if kind == "multi_label":
                rows.append(row("class", label, "ac1", label_ac1(every, label), len(every)))
    pairs = [
        (item, min(pair), max(pair))
        for item, said in enumerate(judged)
        for pair in combinations(said, 2)
    ]
    two = [[judged[item][a], judged[item][b]] for item, a, b in pairs]
    sums = sums_of(two, [lengths[item] for item, _, _ in pairs], labels, kind)
    by_pair: dict[tuple[str, str], list[int]] = {}
    by_annotator: dict[str, list[int]] = {}
    for place, (_, a, b) in enumerate(pairs):
        by_pair.setdefault((a, b), []).append(place)
        by_annotator.setdefault(a, []).append(place)
        by_annotator.setdefault(b, []).append(place)
    most = sorted(by_pair, key=lambda pair: (-len(by_pair[pair]), pair))[:MOST_PAIRS]
    for a, b in sorted(most):
        places, name = by_pair[a, b], f"{a} | {b}"
        alpha = replace(sums, values=sums.values[places]).alpha()
        rows.append(row("pair", name, "alpha", alpha, len(places)))
        rows += _plain_rows("pair", name, [two[place] for place in places], kind)
    for who in sorted(by_annotator):
        places = by_annotator[who]
        weights = np.array([1 / (len(judged[pairs[place][0]]) - 1) for place in places])
        alpha = replace(sums, values=sums.values[places]).alpha(weights)
        rows.append(row("annotator", who, "alpha", alpha, np.rint(weights.sum())))
    return rows


def label_ac1(judged: Sequence[Sequence[Target]], label: str) -> float:
    """Gwet's AC1 on whether items have one label."""
    yes = [sum(label in cast("tuple[str, ...]", each) for each in said) for said in judged]
    counts = np.array([(n, len(said) - n) for n, said in zip(yes, judged, strict=True)])
    units = units_of(counts.reshape(-1, 2), np.arange(2.0), "nominal")
    return float(units.acs(units.frequency[None].astype(np.float64))[0])


def _has(target: Target, label: str) -> bool:
    return any(
        label == (each.label if isinstance(each, Span) else each)
        for each in cast("tuple[Any, ...]", target)
    )


def _plain_rows(
    scope: str, name: str, judged: Sequence[Sequence[Target]], kind: TaskKind
) -> list[dict[str, Any]]:
    """Figures that are not corrected for chance."""
    rows = [row(scope, name, "percent", equal_pairs(judged), len(judged))]
    if kind != "multi_label":
        rows.append(row(scope, name, "span_f1", span_f1(judged), len(judged)))
    return rows
