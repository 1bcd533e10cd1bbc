"""Metrics of generated text: ROUGE-1, -2 and -L, BLEU, chrF and perplexity (SPEC E2).

ROUGE is our own: rouge-score drops every character that is no Latin letter or digit, so that
Chinese answers score 0. BLEU and chrF are sacrebleu's.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.evaluation.resampling import Draws, ratio
from vertical_assets.evaluation.scores import Score

_WORD = re.compile(r"\w+")


def units_of(text: str, spaced: bool) -> list[str]:
    """Lower-case words, or, where words have no spaces, letters and digits one by one; punctuation
    is left out, as usual.
    """
    words = _WORD.findall(text.lower())
    return words if spaced else list("".join(words))


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, bit-parallel: a row of the table is one integer (Hyyro 2004, "Bit-parallel LCS
    length computation revisited").
    """
    masks: dict[str, int] = {}
    for place, unit in enumerate(first):
        masks[unit] = masks.get(unit, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for unit in second:
        matched = row & masks.get(unit, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(first) - row.bit_count()


def rouge_l(reference: str, generated: str, spaced: bool) -> float:
    """ROUGE-L of one answer: the F-measure, beta = 1, of the longest common subsequence (Lin 2004,
    "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1).
    """
    wanted, said = units_of(reference, spaced), units_of(generated, spaced)
    common = longest_common_subsequence(wanted, said)
    return 2 * common / (len(wanted) + len(said)) if common else 0.0


def rouge_n(reference: str, generated: str, spaced: bool, n: int) -> float:
    """ROUGE-N of one answer: the F-measure of its n-grams (the same, section 2; an n-gram counts as
    often as both have it).
    """
    wanted, said = (_ngrams(units_of(text, spaced), n) for text in (reference, generated))
    common = (wanted & said).total()
    return 2 * common / (wanted.total() + said.total()) if common else 0.0


def _ngrams(units: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(units[place:] for place in range(n)), strict=False))


def rouge_scores(answers: pa.Table, spaced: bool) -> list[float]:
    """ROUGE-L of every answer of a GENERATED table."""
    pairs = zip(answers["reference"].to_pylist(), answers["generated"].to_pylist(), strict=True)
    return [rouge_l(wanted, said, spaced) for wanted, said in pairs]


def bleu_tokenizer(language: str) -> str:
    """sacrebleu's tokenizer for a language; 13a is that of NIST's mteval-v13a (SPEC E2)."""
    return {"zh": "zh", "ja": "char", "ko": "char"}.get(language, "13a")


def generation_scores(
    answers: pa.Table, language: str, spaced: bool, draws: Draws | None = None
) -> list[Score]:
    """ROUGE-L, -1 and -2 (means over answers), BLEU, chrF and, where likelihoods are known,
    perplexity; of all answers, and of each type of question. BLEU and chrF are of the whole, as
    shares of 1.

    Args:
        answers: GENERATED.
        language: of the answers.
        spaced: whether the language has spaces between words; ROUGE compares words there, else
            characters.
        draws: resampled answers; None for values without intervals.
    """
    from sacrebleu.metrics import BLEU, CHRF

    draws = draws or Draws.none(len(answers))
    labels = answers["label"].to_pylist()
    reference, generated = (answers[name].to_pylist() for name in ("reference", "generated"))
    pairs = list(zip(reference, generated, strict=True))
    rouge = [
        [rouge_l(a, b, spaced), rouge_n(a, b, spaced, 1), rouge_n(a, b, spaced, 2)]
        for a, b in pairs
    ]
    nats, tokens = (
        np.array(answers[name].to_pylist(), float).reshape(-1, 1) for name in ("nats", "tokens")
    )
    known = np.nan_to_num(tokens) > 0
    likelihood = np.where(known, np.concatenate([nats, tokens], axis=1), 0.0)
    bleu, chrf = BLEU(tokenize=bleu_tokenizer(language)), CHRF()
    parts = {
        "rouge": np.array(rouge).reshape(len(answers), 3),
        "bleu": _statistics(bleu, generated, reference),
        "chrf": _statistics(chrf, generated, reference),
        "likelihood": likelihood,
    }
    scores: list[Score] = []
    for label in ["all", *sorted({label for label in labels if label})]:
        chosen = np.array([[label in ("all", own)] for own in labels], float)
        items = draws.sums(chosen)[:, 0]
        sums = {name: draws.sums(chosen * part) for name, part in parts.items()}
        mean = ratio(sums["rouge"], items[:, None], np.nan)
        nats_each = ratio(sums["likelihood"][:, 0], sums["likelihood"][:, 1], np.nan)
        values = {
            "rouge_l": (mean[:, 0], items),
            "rouge_1": (mean[:, 1], items),
            "rouge_2": (mean[:, 2], items),
            "bleu": (_corpus_scores(bleu, sums["bleu"]), items),
            "chrf": (_corpus_scores(chrf, sums["chrf"]), items),
            "perplexity": (np.exp(nats_each), (chosen * known).sum(axis=0)),
        }
        scores += [
            Score(label, metric, np.where(items > 0, rounds, np.nan), int(support[0]))
            for metric, (rounds, support) in values.items()
            if np.isfinite(rounds[0])
        ]
    return scores


def _statistics(metric: Any, generated: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Answers x counts, whose sums are what a sacrebleu metric is made from. sacrebleu's own
    bootstrap takes its seed from the environment and tells no interval of two models' difference.
    """
    return np.array(metric._extract_corpus_statistics(generated, [reference]), float)


def _corpus_scores(metric: Any, sums: np.ndarray) -> np.ndarray:
    """A sacrebleu metric of each row of sums, as a share of 1."""
    rows = np.rint(sums).astype(int).tolist()
    return np.array([metric._compute_score_from_stats(row).score / 100 for row in rows])
