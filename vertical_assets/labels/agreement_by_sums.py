"""Agreement on sets of labels, spans and numbers: alpha as a function of sums over items (D8).

| task.kind | units | level |
|---|---|---|
| multi_label | item and label: has it or not; the mean of the labels' alphas | nominal |
| entities, question_answering | characters: outside, first of or inside a span | nominal |
| regression | items | interval |

Characters rather than words: an end that is off by one letter counts, in every language. All alphas
are Krippendorff's (2011, "Computing Krippendorff's Alpha-Reliability"), in closed form: the library
`krippendorff` makes units x values x values numbers, too many for characters and for real numbers.
The tests compare both. Since every figure is a sum over items, the bootstrap draws items, not
characters, which depend on each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from vertical_assets.labels.targets import Span, Target, targets_of
from vertical_assets.spec import TaskKind

DRAWS_AT_ONCE = 5_000_000  # numbers of one block of resamples: 40 MB

Judged = Mapping[str, Target]  # annotator -> what they said of one item


@dataclass(frozen=True)
class Sums:
    """Items x figures, and how alpha is made of the figures' sums.

    `nominal`: for each of `questions` the counts of its values, then their observed agreement
    sum_u sum_c n_uc (n_uc - 1) / (m_u - 1). `interval`: values, their sum, the sum of their
    squares, and sum_u sum_ij (v_i - v_j)^2 / (m_u - 1).
    """

    values: np.ndarray
    level: Literal["nominal", "interval"]
    questions: int = 1

    def alpha(self) -> float:
        """Of all items; nan where no item has two annotators."""
        return float(self._alpha(self.values.sum(axis=0))) if len(self.values) else float("nan")

    def resampled(self, rounds: int, seed: int) -> np.ndarray:
        """Alpha of `rounds` resamples of the items, drawn with replacement."""
        rng, items = np.random.default_rng(seed), len(self.values)
        found: list[np.ndarray] = []
        block = max(1, DRAWS_AT_ONCE // max(items, 1))
        for start in range(0, rounds if items else 0, block):
            size = min(block, rounds - start)
            drawn = rng.multinomial(items, np.full(items, 1 / items), size=size)
            found.append(self._alpha(drawn @ self.values))
        return np.concatenate([np.empty(0), *found])

    def _alpha(self, sums: np.ndarray) -> np.ndarray:
        if self.level == "interval":
            count, total, squares, within = np.moveaxis(sums, -1, 0)
            observed = (count - 1) * within
            expected = 2 * (count * squares - total**2)
            # Equal numbers leave rounding errors where nothing should be.
            defined = expected > 1e-9 * count * squares
            return 1.0 - np.divide(observed, expected, out=np.zeros_like(observed), where=defined)
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
        lengths[item, question] = characters or 0
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
    if kind == "regression":
        numbers = [np.array(said, np.float64) for said in judged]
        middle = np.concatenate(numbers).mean() if numbers else 0.0  # alpha knows no zero point
        rows = [_interval(said - middle) for said in numbers]
        return Sums(np.array(rows).reshape(-1, 4), "interval")
    if kind == "multi_label":
        sets = [[set(cast("tuple[str, ...]", each)) for each in said] for said in judged]
        rows = [_labels(said, labels) for said in sets]
        return Sums(np.array(rows).reshape(-1, 3 * len(labels)), "nominal", len(labels))
    spans = [[cast("tuple[Span, ...]", each) for each in said] for said in judged]
    values = 1 + 2 * len(labels)
    rows = [_characters(said, n, labels) for said, n in zip(spans, lengths, strict=True)]
    return Sums(np.array(rows).reshape(-1, values + 1), "nominal")


def _interval(values: np.ndarray) -> list[float]:
    total, squares = values.sum(), (values**2).sum()
    within = 2 * (len(values) * squares - total**2) / (len(values) - 1)
    return [len(values), total, squares, within]


def _labels(said: Sequence[set[str]], labels: Sequence[str]) -> list[float]:
    row: list[float] = []
    for label in labels:
        yes = sum(label in each for each in said)
        no = len(said) - yes
        row += [no, yes, (yes * (yes - 1) + no * (no - 1)) / (len(said) - 1)]
    return row


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
    for row, spans in enumerate(said):
        for span in spans:
            if span.label in codes:
                tags[row, span.start] = codes[span.label]
                tags[row, span.start + 1 : span.end] = codes[span.label] + 1
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


def rows_by_sums(
    annotations: pa.Table, labels: Sequence[str], kind: TaskKind, rounds: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of AGREEMENT: over all with its interval, by label or type, by pair of annotators."""
    judged, lengths = judged_items(annotations, kind)
    every = [list(said.values()) for said in judged]
    sums = sums_of(every, lengths, labels, kind)
    resampled = sums.resampled(rounds, seed)
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (None, None)
    rows = [
        _row("overall", "all", "alpha", sums.alpha(), len(every), low, high),
        *_plain_rows("overall", "all", every, kind),
    ]
    if kind in ("multi_label", "entities"):
        for label in labels:
            used = any(_has(target, label) for said in every for target in said)
            if used:
                one = sums_of(every, lengths, [label], kind)
                rows.append(_row("class", label, "alpha", one.alpha(), len(every)))
    people = sorted({who for said in judged for who in said})
    for a, b in combinations(people, 2):
        both = [number for number, said in enumerate(judged) if a in said and b in said]
        if both:
            two = [[judged[number][a], judged[number][b]] for number in both]
            pair = sums_of(two, [lengths[number] for number in both], labels, kind)
            rows.append(_row("pair", f"{a} | {b}", "alpha", pair.alpha(), len(two)))
            rows += _plain_rows("pair", f"{a} | {b}", two, kind)
    return rows


def _has(target: Target, label: str) -> bool:
    return any(
        label == (each.label if isinstance(each, Span) else each)
        for each in cast("tuple[Any, ...]", target)
    )


def _plain_rows(
    scope: str, name: str, judged: Sequence[Sequence[Target]], kind: TaskKind
) -> list[dict[str, Any]]:
    """Figures that are not corrected for chance."""
    if kind == "regression":
        return []
    rows = [_row(scope, name, "percent", equal_pairs(judged), len(judged))]
    if kind != "multi_label":
        rows.append(_row(scope, name, "span_f1", span_f1(judged), len(judged)))
    return rows


def _row(
    scope: str,
    name: str,
    statistic: str,
    value: float,
    items: int,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, Any]:
    return {
        "scope": scope,
        "name": name,
        "statistic": statistic,
        "value": None if np.isnan(value) else value,
        "low": low,
        "high": high,
        "items": items,
    }
