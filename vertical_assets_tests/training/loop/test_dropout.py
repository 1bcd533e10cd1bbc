"""Dropout by random bits: the distribution of torch's, and the same again from the same seed."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vertical_assets.training.loop.dropout import Dropout, attention, dropout, fast_dropout


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_as_many_are_dropped_as_a_binomial_drops(share: float) -> None:
    torch.manual_seed(1)
    count = 1_000_000
    found: Any = dropout(torch.ones(count), share)
    dropped = int((found == 0).sum())
    assert abs(dropped - count * share) < 5 * (count * share * (1 - share)) ** 0.5
    assert found.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)
    neighbours = np.corrcoef((found[:-1] == 0).numpy(), (found[1:] == 0).numpy())[0, 1]
    assert abs(neighbours) < 5 / count**0.5


@given(rows=st.integers(0, 7), width=st.integers(0, 9), share=st.floats(0.01, 0.99))
def test_values_are_zero_or_scaled_and_so_are_gradients(
    rows: int, width: int, share: float
) -> None:
    values = torch.randn(rows, width, requires_grad=True)
    found: Any = dropout(values, share)
    found.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(found, values.grad * values)
    assert ((values.grad == 0) | (abs(values.grad * (1 - share) - 1) < 1e-2)).all()


def test_a_seed_repeats_it() -> None:
    values = torch.randn(33, 5)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(torch.cat([dropout(values, 0.5), dropout(values, 0.5)]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(*drawn[0].chunk(2))  # one after another, new ones


def test_a_module_drops_in_training_only() -> None:
    module, values = Dropout(0.5), torch.ones(100)
    assert torch.equal(module.eval()(values), values)
    assert (module.train()(values) == 0).any()
    assert torch.equal(Dropout(0.0).train()(values), values)


@pytest.mark.parametrize("mask", ["none", "booleans", "addends"])
def test_attention_is_transformers_own_as_dropout_goes_to_nothing(mask: str) -> None:
    torch.manual_seed(1)
    query, key, value = torch.randn(3, 2, 4, 6, 5)
    masks = {"none": None, "booleans": torch.rand(2, 1, 6, 6) < 0.7}
    masks["addends"] = torch.randn(2, 4, 1, 6)
    if mask == "booleans":
        masks["booleans"][..., 0] = True  # type: ignore[index]
    module = nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    given_ = (module, query, key, value, masks[mask])
    torch.testing.assert_close(
        attention(*given_, dropout=1e-9)[0], sdpa_attention_forward(*given_)[0]
    )


def test_weights_of_attention_are_dropped() -> None:
    """Values of ones give the sum of what is left of a row's weights: 1 on average."""
    torch.manual_seed(1)
    query, key = torch.randn(2, 200, 4, 10, 8)
    module = nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    sums, _ = attention(module, query, key, torch.ones(200, 4, 10, 8), None, dropout=0.2)
    assert float(sums.mean()) == pytest.approx(1, abs=0.01)
    assert float(sums.std()) > 0.1


def test_a_decoder_still_sees_no_later_token() -> None:
    config = GPT2Config(vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = GPT2Model(config).train()
    ids = torch.randint(30, (1, 8))
    other = ids.clone()
    other[:, -1] = (ids[:, -1] + 1) % 30
    with fast_dropout(model):
        states = []
        for each in (ids, other):
            torch.manual_seed(1)
            states.append(model(each).last_hidden_state)
    torch.testing.assert_close(states[0][:, :-1], states[1][:, :-1])


def test_a_model_has_it_while_it_lasts() -> None:
    config = BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model = BertModel(config).train()
    before = [type(module) for module in model.modules()]
    with fast_dropout(model):
        kinds = {type(module) for module in model.modules()}
        assert Dropout in kinds
        assert nn.Dropout not in kinds
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is attention
    assert [type(module) for module in model.modules()] == before
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is sdpa_attention_forward
