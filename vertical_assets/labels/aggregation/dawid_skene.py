"""Dawid and Skene (1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm"): every annotator has a confusion matrix, and every item a true label.
"""

from dataclasses import dataclass

import numpy as np

from vertical_assets.labels.votes import Votes

# Added to the count of every cell of a confusion matrix, so that what an annotator never did is
# unlikely, not impossible. 0 gives the paper's estimates.
SMOOTHING = 0.01
TOLERANCE = 1e-8  # of the log-likelihood per vote
MOST_ROUNDS = 500


@dataclass(frozen=True)
class Estimates:
    """`posterior` (items x labels), `marginals` (labels), and `confusion` (annotators x true label
    x said label): the probabilities of items' labels, of labels, and of what is said of them.
    """

    posterior: np.ndarray
    marginals: np.ndarray
    confusion: np.ndarray
    rounds: int


def dawid_skene(votes: Votes, smoothing: float = SMOOTHING) -> Estimates:
    """EM, from the share of the votes that each label of an item has.

    Both steps are products with the sparse matrix of items x (annotators x labels): a round costs
    votes x labels. Sums of logarithms, so that many votes do not underflow.
    """
    said, labels, people = votes.indicator, votes.labels, len(votes.annotators)
    shares = votes.counts / votes.counts.sum(axis=1, keepdims=True)
    posterior, before, rounds = shares, -np.inf, 0
    while True:
        rounds += 1
        marginals = posterior.mean(axis=0)
        given = np.asarray(said.T @ posterior).reshape(people, labels, labels) + smoothing
        total = given.sum(axis=1, keepdims=True)  # by annotator and true label
        confusion = np.divide(given, total, out=np.full_like(given, 1 / labels), where=total > 0)
        # A finite logarithm of 0, so that 0 votes times it are 0.
        tiny = np.finfo(np.float64).tiny
        logs = np.log(np.maximum(confusion, tiny)).reshape(people * labels, labels)
        joint = said @ logs + np.log(np.maximum(marginals, tiny))
        highest = joint.max(axis=1, keepdims=True)
        posterior = np.exp(joint - highest)
        likelihood = posterior.sum(axis=1, keepdims=True)
        posterior /= likelihood
        now = float((highest + np.log(likelihood)).sum()) / len(votes.label)
        if now - before < TOLERANCE or rounds == MOST_ROUNDS:
            return Estimates(posterior, marginals, confusion.transpose(0, 2, 1), rounds)
        before = now
