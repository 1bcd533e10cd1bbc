"""Answers from a network's outputs, by the kind of the task.

| kind | output of a window | answer of an item |
|---|---|---|
| classification | a logit per label | the most probable label |
| multi_label | a logit per label | every label of probability 1/2 or more |
| entities | a logit per token and tag | spans |
| question_answering | logits of start and end per token | the best span, or none |
| regression | a number | the number |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertical_assets.inference.chain import Chain, bio_tags, marginals, spans_of, viterbi
from vertical_assets.inference.windows import Window, Windows
from vertical_assets.labels.targets import Span, Target

LONGEST_ANSWER = 30  # tokens of an answer at most (BERT's own SQuAD script)
CANDIDATES = 20  # starts and ends that are paired (the same)
AT_LEAST = 0.5  # probability from which a label of several holds


@dataclass(frozen=True)
class Answer:
    """What a model says of an item.

    Attributes:
        target: of the form that the task's kind has.
        confidence: 0 to 1; None where the model has none (regression).
        spans: confidence of each span of `target`, in its order.
    """

    target: Target
    confidence: float | None
    spans: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """A span that a window saw; at an end of the window it may be a part of a longer one."""

    span: Span
    confidence: float
    at_an_end: bool


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities, each on its own; without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def class_answers(probabilities: np.ndarray, labels: Sequence[str]) -> list[Answer]:
    """Of probabilities, items x labels, that sum to one."""
    return [Answer(labels[int(row.argmax())], float(row.max())) for row in probabilities]


def label_answers(probabilities: np.ndarray, labels: Sequence[str]) -> list[Answer]:
    """Of probabilities, items x labels, each on its own; the confidence is that of the least sure
    label.
    """
    return [
        Answer(
            tuple(label for label, share in zip(labels, row, strict=True) if share >= AT_LEAST),
            float(np.maximum(row, 1 - row).min()),
        )
        for row in probabilities
    ]


def value_answers(values: np.ndarray) -> list[Answer]:
    """Of numbers, one per item."""
    return [Answer(float(value), None) for value in values]


def entity_answers(
    logits: Sequence[np.ndarray],
    windows: Windows,
    labels: Sequence[str],
    chain: Chain | None,
    items: int,
) -> list[Answer]:
    """Spans of every item, without overlaps.

    Each window gives the spans whose middle lies in its own part. A span that a window's end cuts
    is joined with the part of it that the next window saw; of others that overlap across a border
    the surer stays. The confidence of a span is the mean probability of its tokens' tags, that of
    an item the least of its spans', or the least sure token's where it has none.

    Args:
        logits: per window, its tokens x tags.
        windows: the windows.
        labels: types of spans.
        chain: scores of a CRF; None for tags on their own.
        items: number of texts.
    """
    tags = bio_tags(labels)
    found: list[list[_Seen]] = [[] for _ in range(items)]
    surest_of_none = np.ones(items)
    for window, scores in zip(windows.windows, logits, strict=True):
        content = scores[window.places].astype(np.float64)
        if not len(content):
            continue
        path, shares = _tagged(content, chain)
        certain = shares[np.arange(len(path)), path]
        surest_of_none[window.item] = min(surest_of_none[window.item], certain.min())
        for first, last, label in spans_of([tags[tag] for tag in path]):
            start, end = int(window.starts[first]), int(window.ends[last])
            if start < end and window.owns(start, end):
                confidence = float(certain[first : last + 1].mean())
                at_an_end = first == 0 or last == len(path) - 1
                found[window.item].append(_Seen(Span(start, end, label), confidence, at_an_end))
    return [
        _without_overlaps(_joined(spans), float(least))
        for spans, least in zip(found, surest_of_none, strict=True)
    ]


def _tagged(content: np.ndarray, chain: Chain | None) -> tuple[np.ndarray, np.ndarray]:
    """(best tags, probabilities) of one window's text tokens."""
    if chain is None:
        return content.argmax(axis=1), softmax(content)
    lengths = np.array([len(content)])
    return viterbi(content[None], lengths, chain)[0], marginals(content[None], lengths, chain)[0]


def _joined(spans: list[_Seen]) -> list[_Seen]:
    """Parts of a span that several windows saw, as one span."""
    joined: list[_Seen] = []
    for seen in sorted(spans, key=lambda each: each.span):
        before = joined[-1] if joined else None
        if (
            before is not None
            and seen.span.start < before.span.end
            and seen.span.label == before.span.label
            and (seen.at_an_end or before.at_an_end)
        ):
            end = max(before.span.end, seen.span.end)
            whole = Span(before.span.start, end, seen.span.label)
            joined[-1] = _Seen(whole, min(before.confidence, seen.confidence), seen.at_an_end)
        else:
            joined.append(seen)
    return joined


def _without_overlaps(spans: list[_Seen], none: float) -> Answer:
    kept: list[_Seen] = []
    for seen in sorted(spans, key=lambda each: (-each.confidence, each.span)):
        span = seen.span
        if all(span.end <= o.span.start or o.span.end <= span.start for o in kept):
            kept.append(seen)
    kept.sort(key=lambda each: each.span)
    confidences = tuple(seen.confidence for seen in kept)
    return Answer(tuple(seen.span for seen in kept), min(confidences, default=none), confidences)


def question_answers(
    logits: Sequence[np.ndarray], windows: Windows, label: str, items: int
) -> list[Answer]:
    """The best span of each item over all its windows, or none.

    As in SQuAD 2.0 by BERT (Devlin et al. 2018, section 4.3): the score of a span is the sum of
    its start's and its end's logit, that of no answer the first token's; no answer is given where
    even the least of its windows' scores for none is above the best span's. The confidence is the
    best score's share against the other, sigma(difference).

    Args:
        logits: per window, its tokens x (start, end).
        windows: the windows.
        label: of an answer's span.
        items: number of questions.
    """
    best = [(-np.inf, Span(0, 0, label))] * items
    none = np.full(items, np.inf)
    for window, scores in zip(windows.windows, logits, strict=True):
        none[window.item] = min(none[window.item], float(scores[0].sum()))
        score, span = _best_span(window, scores, label)
        if score > best[window.item][0]:
            best[window.item] = (score, span)
    answers = []
    for (score, span), against in zip(best, none, strict=True):
        share = float(sigmoid(np.array(score - against)))
        answers.append(
            Answer((span,), share, (share,)) if score > against else Answer((), 1.0 - share)
        )
    return answers


def _best_span(window: Window, scores: np.ndarray, label: str) -> tuple[float, Span]:
    starts, ends = scores[window.places, 0], scores[window.places, 1]
    best = (-np.inf, Span(0, 0, label))
    likely_ends = np.argsort(-ends, kind="stable")[:CANDIDATES]
    for first in np.argsort(-starts, kind="stable")[:CANDIDATES]:
        for last in likely_ends:
            place = Span(int(window.starts[first]), int(window.ends[last]), label)
            if first <= last < first + LONGEST_ANSWER and place.start < place.end:
                score = float(starts[first] + ends[last])
                if score > best[0]:
                    best = (score, place)
    return best


def answers_of(
    kind: str,
    labels: Sequence[str],
    logits: Sequence[np.ndarray],
    windows: Windows,
    items: int,
    chain: Chain | None = None,
) -> list[Answer]:
    """Answers of any kind of task.

    Args:
        kind: of the task.
        labels: of the task.
        logits: per window, without padding.
        windows: the windows; one per item where the kind speaks of the text as a whole.
        items: number of texts.
        chain: scores of a CRF, for entities that have one.
    """
    if kind == "entities":
        return entity_answers(logits, windows, labels, chain, items)
    if kind == "question_answering":
        return question_answers(logits, windows, labels[0], items)
    stacked = np.stack(logits) if items else np.zeros((0, len(labels)), np.float32)
    if kind == "regression":
        return value_answers(stacked)
    if kind == "multi_label":
        return label_answers(sigmoid(stacked), labels)
    return class_answers(softmax(stacked), labels)
