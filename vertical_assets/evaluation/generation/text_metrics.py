"""Metrics of generated text: ROUGE-L, BLEU, chrF and perplexity, as rows of EVALUATION (SPEC E2).

ROUGE-L is our own: rouge-score drops every character that is no Latin letter or digit, so that
Chinese answers score 0. BLEU and chrF are sacrebleu's.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.store.contracts import EVALUATION

FINETUNED, BASELINE = "finetuned", "nearest_prompt"
MAIN = "rouge_l"
ROUNDS = 1000  # of the bootstrap

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


def bleu_tokenizer(language: str) -> str:
    """sacrebleu's tokenizer for a language; 13a is that of NIST's mteval-v13a (SPEC E2)."""
    return {"zh": "zh", "ja": "char", "ko": "char"}.get(language, "13a")


def generation_rows(
    model: str, split: str, answers: pa.Table, language: str, spaced: bool
) -> list[dict[str, Any]]:
    """ROUGE-L (mean over answers), BLEU, chrF and, where likelihoods are known, perplexity; of all
    answers, and of each type of question. BLEU and chrF are of the whole, as shares of 1.

    Args:
        model: name of who answered.
        split: whose items these are.
        answers: GENERATED.
        language: of the answers.
        spaced: whether the language has spaces between words; ROUGE-L compares words there, else
            characters.
    """
    from sacrebleu.metrics import BLEU, CHRF

    scores = np.array(rouge_scores(answers, spaced))
    labels = answers["label"].to_pylist()
    reference, generated = (answers[name].to_pylist() for name in ("reference", "generated"))
    nats, tokens = (answers[name].to_pylist() for name in ("nats", "tokens"))
    rows: list[dict[str, Any]] = []
    for label in ["all", *sorted({label for label in labels if label})]:
        chosen = [n for n, own in enumerate(labels) if label in ("all", own)]
        said, wanted = ([texts[n] for n in chosen] for texts in (generated, reference))
        bleu = BLEU(tokenize=bleu_tokenizer(language)).corpus_score(said, [wanted])
        values = {
            "rouge_l": float(scores[chosen].mean()),
            "bleu": bleu.score / 100,
            "chrf": CHRF().corpus_score(said, [wanted]).score / 100,
        }
        known = [n for n in chosen if tokens[n]]
        if known:
            total = sum(nats[n] for n in known) / sum(tokens[n] for n in known)
            values["perplexity"] = math.exp(total)
        rows += [
            {
                "model": model,
                "split": split,
                "label": label,
                "metric": metric,
                "value": value,
                "support": len(known if metric == "perplexity" else chosen),
            }
            for metric, value in values.items()
        ]
    return rows


def rouge_scores(answers: pa.Table, spaced: bool) -> list[float]:
    """ROUGE-L of every answer of a GENERATED table."""
    pairs = zip(answers["reference"].to_pylist(), answers["generated"].to_pylist(), strict=True)
    return [rouge_l(wanted, said, spaced) for wanted, said in pairs]


def report_of(by_model: Mapping[str, pa.Table], language: str, spaced: bool) -> pa.Table:
    """EVALUATION of several GENERATED tables of the same items, by model and split."""
    rows: list[dict[str, Any]] = []
    for model, table in by_model.items():
        for split in sorted(set(table["split"].to_pylist())):
            chosen = table.filter(pc.equal(table["split"], split))
            rows += generation_rows(model, split, chosen, language, spaced)
    return pa.Table.from_pylist(rows, EVALUATION)


def gain_interval(
    ours: Sequence[float], theirs: Sequence[float], seed: int
) -> tuple[float, float, float]:
    """(mean gain, low, high): the 95 % interval of a paired bootstrap over the items (Koehn 2004,
    "Statistical Significance Tests for Machine Translation Evaluation").
    """
    gains = np.asarray(ours) - np.asarray(theirs)
    draws = np.random.default_rng(seed).integers(len(gains), size=(ROUNDS, len(gains)))
    low, high = np.quantile(gains[draws].mean(axis=1), (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)
