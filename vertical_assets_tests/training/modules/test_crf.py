"""The conditional random field: likelihoods by enumeration, and as pytorch-crf has them."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchcrf import CRF

from vertical_assets.inference.chain import bio_allowed, bio_tags, viterbi
from vertical_assets.training.modules.crf import ConditionalRandomField

TAGS = 4


def free(tags: int, seed: int) -> ConditionalRandomField:
    """Nothing forbidden; random scores."""
    crf = ConditionalRandomField(np.ones(tags, bool), np.ones((tags, tags), bool))
    torch.manual_seed(seed)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def batch(
    seed: int, lengths: list[int], tags: int = TAGS
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    emissions = torch.randn(len(lengths), longest, tags, generator=generator)
    gold = torch.randint(0, tags, (len(lengths), longest), generator=generator)
    return emissions, gold, torch.arange(longest) < torch.tensor(lengths)[:, None]


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_probabilities_of_all_sequences_sum_to_one(seed: int, lengths: list[int]) -> None:
    crf = free(3, seed)
    emissions, _, mask = batch(seed, lengths, 3)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        paths = torch.tensor(list(product(range(3), repeat=length)))
        losses = crf(
            emissions[one, :length].expand(len(paths), -1, -1),
            paths,
            torch.ones(len(paths), length),
        )
        assert float((-losses).exp().sum().detach()) == pytest.approx(1.0, abs=1e-4)
        padded = torch.zeros(1, emissions.shape[1], dtype=torch.long)
        padded[0, :length] = paths[-1]
        assert float(crf(emissions[one], padded, mask[one]).detach()) == pytest.approx(
            float(losses[-1].detach()), abs=1e-4
        )


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_loss_gradient_and_best_path_equal_pytorch_crf(seed: int, lengths: list[int]) -> None:
    ours, theirs = free(TAGS, seed), CRF(TAGS, batch_first=True)
    theirs.load_state_dict(
        {
            "start_transitions": ours.starts.detach(),
            "end_transitions": ours.ends.detach(),
            "transitions": ours.transitions.detach(),
        }
    )
    emissions, gold, mask = batch(seed, lengths)
    loss = ours(emissions, gold, mask)
    expected = -theirs(emissions, gold, mask, reduction="none")
    assert torch.allclose(loss, expected, atol=1e-4)
    loss.sum().backward()
    expected.sum().backward()
    pairs = [
        (ours.starts, theirs.start_transitions),
        (ours.ends, theirs.end_transitions),
        (ours.transitions, theirs.transitions),
    ]
    for mine, other in pairs:
        assert mine.grad is not None
        assert torch.allclose(
            mine.grad, torch.zeros_like(mine) if other.grad is None else other.grad, atol=1e-4
        )
    best = viterbi(emissions.double().numpy(), np.array(lengths), ours.chain())
    assert [path.tolist() for path in best] == theirs.decode(emissions, mask)


def test_what_bio_forbids_has_no_probability() -> None:
    labels = ["drug", "disease"]
    crf, tags = ConditionalRandomField(*bio_allowed(labels)), bio_tags(labels)
    emissions, _, mask = batch(0, [2], len(tags))

    def probability(*names: str) -> float:
        gold = torch.tensor([[tags.index(name) for name in names]])
        return float((-crf(emissions, gold, mask)).exp().detach())

    assert probability("I-drug", "O") == 0.0
    assert probability("B-drug", "I-disease") == 0.0
    assert probability("B-drug", "I-drug") > 0.0
    allowed = [
        (a, b)
        for a, b in product(tags, repeat=2)
        if not a.startswith("I-") and (not b.startswith("I-") or a == f"B{b[1:]}")
    ]
    assert sum(probability(*pair) for pair in allowed) == pytest.approx(1.0, abs=1e-5)
