"""Scores of multi-label, span and answer predictions, by kind of task (SPEC E1).

Each function returns the `Score`s of one model on one set of items, in the sample and, where it is
given draws, in every round of a bootstrap; `metrics.report_of` puts them side by side. Those of
classification and regression have modules of their names.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vertical_assets.evaluation.resampling import Draws, interval, ratio
from vertical_assets.labels.targets import Span


class Score(NamedTuple):
    """One figure: of a label, type of span or type of question, or of `all`.

    `rounds` is its value in the sample, then in every round of the bootstrap.
    """

    label: str
    metric: str
    rounds: np.ndarray
    support: int

    @property
    def value(self) -> float:
        return float(self.rounds[0])

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """95 % interval; none without a bootstrap."""
        return interval(self.rounds)

    def row(self, model: str, split: str) -> dict[str, Any]:
        """As a row of EVALUATION."""
        low, high = self.interval
        return {
            "model": model,
            "split": split,
            "label": self.label,
            "metric": self.metric,
            "value": self.value,
            "low": low,
            "high": high,
            "support": self.support,
        }


def multi_label_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    labels: Sequence[str],
    draws: Draws | None = None,
) -> list[Score]:
    """Subset accuracy (all labels right), Hamming loss (share of wrong decisions; lower is better),
    precision, recall and F1: micro, macro and by label.

    Macro figures are over the labels that occur in gold or predictions: one without any item has no
    F1. A ratio without a denominator is 0, as scikit-learn's with `zero_division=0`.
    """
    draws = draws or Draws.none(len(gold))
    true, said = (_indicators(side, labels) for side in (gold, predicted))
    counts = _Counts.of(true & said, said, true, draws)
    wrong = np.stack([(true != said).any(axis=1), (true != said).mean(axis=1)], axis=1)
    shares = ratio(draws.sums(wrong), draws.sums(np.ones((len(gold), 1))), np.nan)
    return [
        *counts.averages(len(gold)),
        Score("all", "subset_accuracy", 1 - shares[:, 0], len(gold)),
        Score("all", "hamming_loss", shares[:, 1], len(gold)),
        *counts.by_label(labels),
    ]


def _indicators(sets: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
    return np.array([[label in each for label in labels] for each in sets], bool).reshape(
        len(sets), len(labels)
    )


class _Counts(NamedTuple):
    """Per label, what is right, was given and was wanted: (1 + rounds) x labels."""

    right: np.ndarray
    given: np.ndarray
    wanted: np.ndarray

    @classmethod
    def of(
        cls, right: np.ndarray, given: np.ndarray, wanted: np.ndarray, draws: Draws
    ) -> "_Counts":
        """From counts of items x labels."""
        width = right.shape[1]
        sums = draws.sums(np.concatenate([right, given, wanted], axis=1))
        return cls(sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width :])

    def ratios(self, undefined: float) -> dict[str, np.ndarray]:
        """Precision, recall and F1; the last is `undefined` where nothing was given or wanted."""
        return {
            "precision": ratio(self.right, self.given),
            "recall": ratio(self.right, self.wanted),
            "f1": ratio(2 * self.right, self.given + self.wanted, undefined),
        }

    def averages(self, size: int) -> list[Score]:
        """Micro and macro figures of `size` items."""
        whole = _Counts(*(each.sum(axis=1, keepdims=True) for each in self)).ratios(0.0)
        occurs = self.given + self.wanted > 0
        macro = {
            name: ratio(np.where(occurs, values, 0.0).sum(axis=1), occurs.sum(axis=1))
            for name, values in self.ratios(0.0).items()
        }
        return [
            *(Score("all", f"{name}_micro", each[:, 0], size) for name, each in whole.items()),
            *(Score("all", f"{name}_macro", each, size) for name, each in macro.items()),
        ]

    def by_label(self, labels: Sequence[str]) -> list[Score]:
        """Figures of the labels that occur."""
        occurs = self.given + self.wanted > 0
        return [
            Score(label, name, np.where(occurs[:, n], values[:, n], np.nan), int(self.wanted[0, n]))
            for n, label in enumerate(labels)
            if occurs[0, n]
            for name, values in self.ratios(np.nan).items()
        ]


def span_scores(
    gold: Sequence[Sequence[Span]],
    predicted: Sequence[Sequence[Span]],
    labels: Sequence[str],
    draws: Draws | None = None,
) -> list[Score]:
    """Strict precision, recall and F1 of spans: micro, macro and by type.

    A span counts where start, end and type are right, as in CoNLL-2003 (Tjong Kim Sang and De
    Meulder 2003, "Introduction to the CoNLL-2003 Shared Task") and the `strict` scheme of
    SemEval-2013 task 9.1. Macro figures are over the types that occur in gold or predictions. A
    ratio without a denominator is 0.
    """
    draws = draws or Draws.none(len(gold))
    met = {span.label for side in (gold, predicted) for spans in side for span in spans}
    every = [*labels, *sorted(met - set(labels))]
    code = {label: number for number, label in enumerate(every)}
    counts = np.zeros((3, len(gold), len(every)))  # right, given, wanted
    for item, (true, said) in enumerate(zip(gold, predicted, strict=True)):
        for count, spans in zip(counts, (set(true) & set(said), set(said), set(true)), strict=True):
            for span in spans:
                count[item, code[span.label]] += 1
    right, given, wanted = counts
    found = _Counts.of(right, given, wanted, draws)
    return [*found.averages(len(gold)), *found.by_label(every)]


def answer_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    types: Sequence[str | None],
    draws: Draws | None = None,
) -> list[Score]:
    """Exact match and F1 of answers, over all questions and by type of question.

    SQuAD's definition (Rajpurkar et al. 2016; 2018 for questions without an answer): the best over
    the gold answers; both sides empty is right, one side empty is wrong. Of several predicted
    answers the first counts.

    Args:
        gold: texts of each question's answers; none where the text has no answer.
        predicted: texts of what was predicted.
        types: type of each question, where the standard has types.
        draws: resampled questions; None for values without intervals.
    """
    draws = draws or Draws.none(len(gold))
    pairs = zip(gold, predicted, strict=True)
    found = np.array([answer_match(true, said[0] if said else "") for true, said in pairs])
    groups: dict[str, list[int]] = {"all": list(range(len(gold)))}
    for number, type_ in enumerate(types):
        if type_ is not None:
            groups.setdefault(type_, []).append(number)
    scores = []
    for label, rows in groups.items():
        chosen = np.zeros((len(gold), 1))
        chosen[rows] = 1.0
        sums = draws.sums(np.concatenate([chosen, chosen * found], axis=1))
        for place, metric in enumerate(("exact_match", "f1")):
            mean = ratio(sums[:, 1 + place], sums[:, 0], np.nan)
            scores.append(Score(label, metric, mean, len(rows)))
    return scores


def answer_match(gold: Sequence[str], predicted: str) -> tuple[float, float]:
    """(exact match, F1) of one predicted answer, "" for none, with the best of the gold ones."""
    said = answer_tokens(predicted)
    wanted = [answer_tokens(text) for text in gold] or [[]]
    return (
        max(float(said == each) for each in wanted),
        max(token_f1(each, said) for each in wanted),
    )


_ARTICLES = {"a", "an", "the"}
_HAN_OR_KANA = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_HAN_OR_KANA}]|[^\s{_HAN_OR_KANA}]+")


def answer_tokens(text: str) -> list[str]:
    """Tokens of an answer: lower case, without punctuation and English articles, as in SQuAD's
    official script; a Chinese or Japanese character is a token, as in CMRC 2018 (Cui et al. 2019).
    """
    plain = "".join(
        character
        for character in text.lower()
        if character not in string.punctuation and unicodedata.category(character)[0] != "P"
    )
    return [token for token in _TOKEN.findall(plain) if token not in _ARTICLES]


def token_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """F1 of two bags of tokens; two empty ones are equal."""
    if not gold or not predicted:
        return float(gold == predicted)
    common = (Counter(gold) & Counter(predicted)).total()
    return 2 * common / (len(gold) + len(predicted))
