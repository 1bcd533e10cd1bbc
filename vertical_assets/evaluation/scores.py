"""Scores of multi-label, span, answer and number predictions, by kind of task (SPEC E1).

Each function returns `Score` rows of one model on one set of items; `metrics.report_of` puts them
side by side. Classification is in `metrics`.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vertical_assets.labels.targets import Span


class Score(NamedTuple):
    """One figure: of a label, type of span or type of question, or of `all`."""

    label: str
    metric: str
    value: float
    support: int


def multi_label_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], labels: Sequence[str]
) -> list[Score]:
    """Subset accuracy (all labels right), Hamming loss (share of wrong decisions; lower is better),
    micro and macro F1, and F1 by label; by scikit-learn.

    Macro F1 is over the labels that occur in gold or predictions: one without any item has no F1.
    """
    from sklearn.metrics import accuracy_score, f1_score, hamming_loss

    true, said = (_indicators(side, labels) for side in (gold, predicted))
    present = np.flatnonzero((true | said).any(axis=0)).tolist()
    by_label = f1_score(true, said, average=None, zero_division=0.0, labels=range(len(labels)))
    size = len(gold)
    return [
        Score("all", "f1_micro", f1_score(true, said, average="micro", zero_division=0.0), size),
        Score("all", "f1_macro", float(by_label[present].mean()) if len(present) else 0.0, size),
        Score("all", "subset_accuracy", accuracy_score(true, said), size),
        Score("all", "hamming_loss", hamming_loss(true, said), size),
        *(Score(labels[n], "f1", by_label[n], int(true[:, n].sum())) for n in present),
    ]


def _indicators(sets: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
    return np.array([[label in each for label in labels] for each in sets], bool).reshape(
        len(sets), len(labels)
    )


def span_scores(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: Sequence[str]
) -> list[Score]:
    """Strict precision, recall and F1 of spans: micro, macro and by type.

    A span counts where start, end and type are right, as in CoNLL-2003 (Tjong Kim Sang and De
    Meulder 2003, "Introduction to the CoNLL-2003 Shared Task") and the `strict` scheme of
    SemEval-2013 task 9.1. Macro figures are over the types that occur in gold or predictions. A
    ratio without a denominator is 0.
    """
    right, wanted, given = Counter[str](), Counter[str](), Counter[str]()
    for true, said in zip(gold, predicted, strict=True):
        right.update(span.label for span in set(true) & set(said))
        wanted.update(span.label for span in set(true))
        given.update(span.label for span in set(said))
    size = len(gold)
    present = [label for label in labels if wanted[label] or given[label]]
    by_type = {label: _ratios(right[label], given[label], wanted[label]) for label in present}
    micro = _ratios(right.total(), given.total(), wanted.total())
    macro = np.array(list(by_type.values())).mean(axis=0) if present else np.zeros(3)
    names = ("precision", "recall", "f1")
    return [
        *(Score("all", f"{n}_micro", v, size) for n, v in zip(names, micro, strict=True)),
        *(Score("all", f"{n}_macro", v, size) for n, v in zip(names, macro, strict=True)),
        *(
            Score(label, name, value, wanted[label])
            for label, ratios in by_type.items()
            for name, value in zip(names, ratios, strict=True)
        ),
    ]


def _ratios(right: int, given: int, wanted: int) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    return (
        right / given if given else 0.0,
        right / wanted if wanted else 0.0,
        2 * right / (given + wanted) if given + wanted else 0.0,
    )


def answer_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], types: Sequence[str | None]
) -> list[Score]:
    """Exact match and F1 of answers, over all questions and by type of question.

    SQuAD's definition (Rajpurkar et al. 2016; 2018 for questions without an answer): the best over
    the gold answers; both sides empty is right, one side empty is wrong. Of several predicted
    answers the first counts.

    Args:
        gold: texts of each question's answers; none where the text has no answer.
        predicted: texts of what was predicted.
        types: type of each question, where the standard has types.
    """
    pairs = zip(gold, predicted, strict=True)
    found = [_answer(true, said[0] if said else "") for true, said in pairs]
    groups: dict[str, list[int]] = {"all": list(range(len(gold)))}
    for number, type_ in enumerate(types):
        if type_ is not None:
            groups.setdefault(type_, []).append(number)
    return [
        Score(label, metric, float(np.mean([found[n][place] for n in rows])), len(rows))
        for label, rows in groups.items()
        for place, metric in enumerate(("exact_match", "f1"))
    ]


def _answer(gold: Sequence[str], predicted: str) -> tuple[float, float]:
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


def number_scores(gold: Iterable[float], predicted: Iterable[float]) -> list[Score]:
    """Mean absolute error, root of the mean squared error, R2, Pearson's r and Spearman's rho, by
    scikit-learn and SciPy. Where one side is constant the last three (R2 for gold alone) are
    undefined and left out.
    """
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    true, said = np.array(list(gold)), np.array(list(predicted))
    scores = {
        "mae": mean_absolute_error(true, said),
        "rmse": root_mean_squared_error(true, said),
    }
    if np.ptp(true) > 0:
        scores["r2"] = r2_score(true, said)
        if np.ptp(said) > 0:
            scores["pearson"] = pearsonr(true, said).statistic
            scores["spearman"] = spearmanr(true, said).statistic
    return [Score("all", name, float(value), len(true)) for name, value in scores.items()]
