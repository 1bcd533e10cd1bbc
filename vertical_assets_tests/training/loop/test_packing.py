"""Packing: documents end to end are to each other as if they were alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from vertical_assets.batching import packs_of_epoch
from vertical_assets.training.loop.batches import Tokenized
from vertical_assets.training.loop.packing import allow_packing, blocks_of, first_position

LENGTHS = (3, 3, 5, 9, 9, 9, 16)
SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
MODELS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
}


def some_documents() -> Tokenized:
    dice = np.random.default_rng(0)
    return Tokenized([dice.integers(5, 40, length).tolist() for length in LENGTHS], pad_id=1)


@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_of_a_pack_is_the_loss_of_its_documents(kind: str) -> None:
    """The same tokens and the same masked places: the same loss and the same gradients."""
    documents, rows = some_documents(), np.arange(len(LENGTHS))
    torch.manual_seed(0)
    model = MODELS[kind]()
    allow_packing(model)
    ids, lengths, positions = documents.packed(rows)
    padded, mask = documents.padded(rows)
    chosen = torch.rand(ids.shape) < 0.4
    labels = torch.where(chosen, ids, -100)
    padded_labels = torch.full_like(padded, -100)
    padded_labels[mask.bool()] = labels[0]

    def gradients() -> list[torch.Tensor]:
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        return found

    packed_loss = model(
        input_ids=ids,
        position_ids=positions + first_position(model),
        blocks=blocks_of(lengths),
        labels=labels,
    ).loss
    packed_loss.backward()
    packed_gradients = gradients()
    loss = model(input_ids=padded, attention_mask=mask, labels=padded_labels).loss
    loss.backward()
    torch.testing.assert_close(packed_loss, loss, rtol=1e-5, atol=1e-6)
    for one, other in zip(packed_gradients, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_document_does_not_see_its_neighbours() -> None:
    documents = some_documents()
    torch.manual_seed(0)
    model = MODELS["bert"]().eval()
    allow_packing(model)
    ids, lengths, positions = documents.packed(np.arange(len(LENGTHS)))

    def hidden(ids: torch.Tensor) -> torch.Tensor:
        return model.base_model(
            input_ids=ids, position_ids=positions, blocks=blocks_of(lengths)
        ).last_hidden_state[0]

    changed = ids.clone()
    changed[0, :3] = 7
    before, after = hidden(ids), hidden(changed)
    assert not torch.allclose(before[:3], after[:3])
    assert torch.equal(before[3:], after[3:])


def test_an_attention_of_its_own_is_refused() -> None:
    model = MODELS["bert"]()
    model.config._attn_implementation = "of_its_own"
    with pytest.raises(ValueError, match=r"set pretrain\.packing to false"):
        allow_packing(model)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array),
    budget=st.integers(60, 600),
    epoch=st.integers(0, 3),
)
def test_packs_hold_each_row_once_and_nothing_is_padded(
    lengths: np.ndarray, budget: int, epoch: int
) -> None:
    packs = packs_of_epoch(lengths, budget, 7, epoch)
    assert sorted(np.concatenate(packs).tolist()) == list(range(len(lengths)))
    assert all(lengths[rows].sum() <= budget for rows in packs)
    assert all((np.diff(lengths[rows]) >= 0).all() for rows in packs)
    # No pack could have taken the next one's rows too.
    sums = [lengths[rows].sum() for rows in packs]
    assert all(one + other > budget for one, other in pairwise(sums))


def test_positions_begin_anew_with_each_document() -> None:
    ids, lengths, positions = Tokenized([[5, 6, 7], [8], [9, 9]], pad_id=1).packed([1, 2, 0])
    assert ids.tolist() == [[8, 9, 9, 5, 6, 7]]
    assert lengths.tolist() == [1, 2, 3]
    assert positions.tolist() == [[0, 0, 1, 0, 1, 2]]
