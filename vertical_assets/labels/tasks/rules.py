"""Pre-labels by rules: regular expressions and dictionaries of terms (SPEC D7)."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from upath import UPath

from vertical_assets.corpus.cleaning.segmentation import domain_terms
from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.labels.targets import Span, Target
from vertical_assets.spec import Rule, VerticalSpec

RULES = "rules"  # source of a prediction
Places = list[tuple[int, int]]


@dataclass(frozen=True)
class Prediction:
    """A pre-label.

    Attributes:
        source: rules, or model:<digest of the release>.
        score: 0 to 1. Of rules: the share of those that found something which say so. Of a model:
            its confidence; None where it has none.
        target: by the task's kind.
    """

    source: str
    score: float | None
    target: Target


@dataclass(frozen=True)
class Said:
    """What the rules say of a text; `key` is why it is for an expert, None where it is not."""

    prediction: Prediction | None
    key: str | None


class TextRules:
    """`annotation.tasks.rules`, ready to read texts.

    Args:
        spec: sections `annotation.tasks`, `task`, `clean`.
        data: folder that a dictionary's relative path starts from, `data/<vertical>/`.

    Raises:
        SourceError: a dictionary can't be read.
    """

    def __init__(self, spec: VerticalSpec, data: UPath) -> None:
        self._spec = spec
        self._rules = [
            (rule, _finder(rule, spec, data), _named(number, rule))
            for number, rule in enumerate(spec.annotation.tasks.rules)
        ]

    def read(self, text: str) -> Said:
        """Pre-label of a text, and whether it is a key item.

        Of a classification the label that most rules say; none where two are said equally often,
        which makes it a key item. Of entities the leftmost matches, of those the longest.
        """
        found = [(rule, name, at) for rule, find, name in self._rules if (at := find(text))]
        key = next((f"{name} matches" for rule, name, _ in found if rule.expert), None)
        labels = [(rule.label, at) for rule, _, at in found if rule.label is not None]
        if not labels:
            return Said(None, key)
        kind = self._spec.task.kind
        if kind == "entities":
            spans = (Span(start, end, label) for label, at in labels for start, end in at)
            return Said(Prediction(RULES, 1.0, _apart(spans)), key)
        votes = Counter(label for label, _ in labels)
        if kind == "multi_label":
            target = tuple(label for label in self._spec.labels if label in votes)
            return Said(Prediction(RULES, 1.0, target), key)
        (best, count), *others = votes.most_common()
        if others and others[0][1] == count:
            return Said(None, key or "rules contradict each other")
        return Said(Prediction(RULES, count / votes.total(), best), key)


def _finder(rule: Rule, spec: VerticalSpec, data: UPath) -> Callable[[str], Places]:
    if rule.dictionary is not None:
        only = spec.clean.model_copy(update={"dictionaries": (rule.dictionary,)})
        return Terms(domain_terms(only, data)).occurrences
    pattern = re.compile(str(rule.pattern), re.IGNORECASE)
    return lambda text: [m.span() for m in pattern.finditer(text) if m.end() > m.start()]


def _named(number: int, rule: Rule) -> str:
    what = (
        rule.pattern
        if rule.dictionary is None
        else rule.dictionary.path or (f"{rule.dictionary.package}/{rule.dictionary.resource}")
    )
    return f"rule {number} ({what})"


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans without overlaps: the leftmost, of those the longest."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return tuple(kept)
