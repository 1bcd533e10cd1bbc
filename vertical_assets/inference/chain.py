"""Chains of tags: BIO, Viterbi's best path and the marginals of a linear-chain CRF, in NumPy.

Scores are logarithms. A batch is rows x length x tags with a mask whose ones come first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OUTSIDE = "O"
FORBIDDEN = -1e4  # score of a transition that BIO does not allow: exp of it is 0 in float32


@dataclass(frozen=True)
class Chain:
    """Scores of a linear chain; forbidden transitions score FORBIDDEN.

    Attributes:
        starts, ends: of the first and the last tag.
        transitions: from tag (row) to tag (column).
    """

    starts: np.ndarray
    transitions: np.ndarray
    ends: np.ndarray


def bio_tags(labels: Sequence[str]) -> list[str]:
    """O, then B- and I- of every label (Ramshaw and Marcus 1995, IOB2)."""
    return [OUTSIDE, *(f"{place}-{label}" for label in labels for place in "BI")]


def bio_allowed(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(first tag, tag -> tag) as booleans: I-x follows B-x or I-x only."""
    tags = bio_tags(labels)
    first = np.array([not tag.startswith("I-") for tag in tags])
    steps = np.array(
        [
            [not after.startswith("I-") or before[1:] == after[1:] for after in tags]
            for before in tags
        ]
    )
    return first, steps


def viterbi(emissions: np.ndarray, lengths: np.ndarray, chain: Chain) -> list[np.ndarray]:
    """The best tags of every row (Viterbi 1967), as arrays of the rows' lengths."""
    rows, longest, _ = emissions.shape
    best = chain.starts + emissions[:, 0] if longest else emissions.sum(axis=1)
    back = np.zeros(emissions.shape, np.int64)
    for step in range(1, longest):
        through = best[:, :, None] + chain.transitions
        back[:, step] = through.argmax(axis=1)
        running = (step < lengths)[:, None]
        best = np.where(running, through.max(axis=1) + emissions[:, step], best)
    last = (best + chain.ends).argmax(axis=1)
    paths = []
    for row in range(rows):
        path = np.zeros(lengths[row], np.int64)
        tag = last[row]
        for step in range(lengths[row] - 1, -1, -1):
            path[step] = tag
            tag = back[row, step, tag]
        paths.append(path)
    return paths


def marginals(emissions: np.ndarray, lengths: np.ndarray, chain: Chain) -> np.ndarray:
    """Probability of every tag at every place by forward and backward sums; zero behind a row's
    end. Lafferty, McCallum and Pereira 2001.
    """
    longest = emissions.shape[1]
    forward, backward = np.zeros_like(emissions), np.zeros_like(emissions)
    for step in range(longest):
        before = (
            chain.starts
            if step == 0
            else _log_sum(forward[:, step - 1, :, None] + chain.transitions, axis=1)
        )
        forward[:, step] = before + emissions[:, step]
    for step in range(longest - 1, -1, -1):
        is_last = np.equal(step, lengths - 1)[:, None]
        if step == longest - 1:
            backward[:, step] = chain.ends
            continue
        after = (backward[:, step + 1] + emissions[:, step + 1])[:, None, :]
        onward = _log_sum(chain.transitions + after, axis=2)
        backward[:, step] = np.where(is_last, chain.ends, onward)
    scores = forward + backward
    inside = np.arange(longest) < lengths[:, None]
    total = _log_sum(scores, axis=2)[:, :, None]
    return np.where(inside[:, :, None], np.exp(scores - total), 0.0)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis)


def spans_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first token, last token, label) of tags; an I-x that continues nothing begins a span, as in
    conlleval.
    """
    spans: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        label = tag[2:]
        goes_on = tag.startswith("I-") and spans and spans[-1][1:] == (place - 1, label)
        if goes_on:
            spans[-1] = (spans[-1][0], place, label)
        else:
            spans.append((place, place, label))
    return spans
