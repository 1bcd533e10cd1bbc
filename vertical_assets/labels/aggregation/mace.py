"""MACE (Hovy, Berg-Kirkpatrick, Vaswani and Hovy 2013, "Learning whom to trust with MACE"): every
annotator either knows an item's label or says one by a habit of their own.
"""

from dataclasses import dataclass

import numpy as np

from vertical_assets.labels.votes import Votes

# As the paper's section 3.1 and its published program: Beta(0.5, 0.5) on knowing, Dirichlet(10) on
# habits, 10 random starts of 50 rounds.
KNOWING, HABITS, STARTS, ROUNDS = 0.5, 10.0, 10, 50
NOISE = 0.5  # of the random starts


@dataclass(frozen=True)
class Competence:
    """`posterior` (items x labels), the annotators' probability of `knowing`, and the probability
    of each label in their `habits` (annotators x labels).
    """

    posterior: np.ndarray
    knowing: np.ndarray
    habits: np.ndarray


def mace(votes: Votes, seed: int) -> Competence:
    """Variational Bayes from random starts; the one of the greatest marginal likelihood."""
    from scipy.special import digamma

    rng = np.random.default_rng(seed)
    people, labels = len(votes.annotators), votes.labels
    who, cell = votes.annotator, votes.annotator * labels + votes.label
    place = votes.item * labels + votes.label
    best, highest = None, -np.inf
    for _ in range(STARTS):
        knowing = rng.uniform(1, 2 + NOISE, (people, 2))
        knowing /= knowing.sum(axis=1, keepdims=True)
        habits = rng.uniform(1, 2 + NOISE, (people, labels))
        habits /= habits.sum(axis=1, keepdims=True)
        for remaining in range(ROUNDS, -1, -1):
            habit = (knowing[:, :1] * habits).ravel()[cell]  # by vote
            right = habit + knowing[who, 1]
            # Of an item's labels those that were said gain; the habits' part is the same for all.
            gain = np.bincount(place, np.log(right / habit), minlength=votes.counts.size)
            gain = gain.reshape(votes.counts.shape)
            top = gain.max(axis=1, keepdims=True)
            posterior = np.exp(gain - top)
            total = posterior.sum(axis=1, keepdims=True)
            posterior /= total
            if not remaining:
                break
            knew = posterior.ravel()[place] * knowing[who, 1] / right
            known = np.bincount(who, knew, minlength=people)
            guessed = np.bincount(cell, 1 - knew, minlength=people * labels).reshape(habits.shape)
            prior = np.stack([guessed.sum(axis=1), known], axis=1) + KNOWING
            knowing = np.exp(digamma(prior) - digamma(prior.sum(axis=1, keepdims=True)))
            told = guessed + HABITS
            habits = np.exp(digamma(told) - digamma(told.sum(axis=1, keepdims=True)))
        likelihood = float(np.log(habit).sum() + (top + np.log(total)).sum())
        if likelihood > highest:
            best, highest = Competence(posterior, knowing[:, 1], habits), likelihood
    assert best is not None
    return best
