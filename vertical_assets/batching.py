"""Batches of rows of similar length: a budget of tokens instead of a number of rows.

Padding is what a naive loop spends most of its time on; sorting by length within large shuffled
pools leaves almost none of it, and keeps the order random from batch to batch.
"""

import numpy as np

POOL = 50  # batches that are sorted together
# Tokens of a batch without gradients, on a processor: more leave the caches (of MiniLM's size, two
# cores: 4,000 tokens/s with 1,024 or 2,048, 3,300 with 8,192).
INFERENCE_TOKENS = 2048


def batches_of_epoch(
    lengths: np.ndarray, budget: int, seed: int, epoch: int, drawn: np.ndarray | None = None
) -> list[np.ndarray]:
    """Row numbers of every batch of one epoch; each row once.

    Args:
        lengths: tokens per row.
        budget: tokens per batch, padding included; a longer row is a batch of its own.
        seed: of the run.
        epoch: the order differs by epoch and is the same in every run.
        drawn: rows of this epoch; all where not given.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(np.arange(len(lengths)) if drawn is None else drawn)
    pool = max(1, POOL * budget // max(1, int(lengths.mean())))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        first = 0
        for place in range(1, len(rows) + 1):
            # Sorted: the last row is the longest, and the batch is as wide as it.
            if place == len(rows) or (place - first + 1) * lengths[rows[place]] > budget:
                batches.append(rows[first:place])
                first = place
    return [batches[number] for number in rng.permutation(len(batches))]


def packs_of_epoch(lengths: np.ndarray, budget: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Row numbers of every batch of one epoch, drawn without regard to their lengths: they are
    laid end to end, so that a batch holds as many whole rows as its budget of tokens takes. Within
    a batch the rows are sorted by length. Arguments are those of `batches_of_epoch`.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(lengths))
    batches, first, used = [], 0, 0
    for place, row in enumerate(order):
        if used + lengths[row] > budget and place > first:
            batches.append(order[first:place])
            first, used = place, 0
        used += lengths[row]
    batches.append(order[first:])
    return [rows[np.argsort(lengths[rows], kind="stable")] for rows in batches]


def draw_by_group(groups: np.ndarray, most: int, seed: int, epoch: int) -> np.ndarray:
    """Row numbers with at most `most` rows of each group, another choice in every epoch."""
    rows = np.random.default_rng([seed, epoch, most]).permutation(len(groups))
    rows = rows[np.argsort(groups[rows], kind="stable")]
    starts = np.flatnonzero(np.r_[True, groups[rows[1:]] != groups[rows[:-1]]])
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    return np.sort(rows[rank < most])


def in_order(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Batches for inference: sorted by length, longest first, each row once."""
    rows = np.argsort(-lengths, kind="stable")
    batches, first = [], 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or (place - first + 1) * lengths[rows[first]] > budget:
            batches.append(rows[first:place])
            first = place
    return batches
