"""Causal pretraining: packed rows have the losses of their texts one by one; kills cost nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import Pretrain, VerticalSpec
from vertical_assets.training.generation.causal import (
    IGNORED,
    Batch,
    CausalModule,
    Packed,
    Sequences,
    mean_loss,
    pack,
    pieces,
    plan_of,
    pretrain_decoder,
    sequences_of,
)
from vertical_assets.training.loop.loop import LAST, SaveLast

PLAN = plan_of(Pretrain(), 10, 2, seed=1, validations=1)


class KilledError(Exception):
    """Stands for the end of the process."""


@given(lengths=st.lists(st.integers(1, 40), max_size=200))
def test_every_sequence_is_in_one_row_and_rows_are_full(lengths: list[int]) -> None:
    rows = pack(lengths, 40)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    filled = [sum(lengths[number] for number in row) for row in rows]
    assert all(tokens <= 40 for tokens in filled)
    # No two rows could have been one: a bound that any-fit packing keeps (Johnson 1974).
    assert sum(tokens <= 20 for tokens in filled) <= 1


def test_a_sequence_longer_than_a_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="41 tokens does not fit into rows of 40"):
        pack([3, 41], 40)


def test_long_texts_are_read_in_pieces() -> None:
    assert list(pieces([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4]]  # 5 has nothing to predict
    assert list(pieces([1, 2, 3, 4, 5], 3)) == [[1, 2, 3], [4, 5]]


def small_models() -> list[Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 50}
    llama = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        **sizes,
    )
    gpt2 = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **sizes)
    return [LlamaForCausalLM(llama), GPT2LMHeadModel(gpt2)]


@pytest.mark.parametrize("model", small_models(), ids=["llama", "gpt2"])
def test_packed_training_equals_unpacked(model: Any) -> None:
    """The same loss and the same gradients, with learned positions and with rotary ones."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 50, length).tolist() for length in (7, 2, 19, 5, 11, 8)]
    sequences = Sequences(ids, ids)
    module = CausalModule(model.eval(), PLAN, 10)

    def loss_and_gradient(batches: list[Batch]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        sums = [module.loss(*batch) for batch in batches]
        total = torch.stack([loss * count for loss, count in sums]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        return float(total.detach()), gradient

    packed = Packed(sequences, 24, pad_id=0)
    assert len(packed.rows) == 3
    alone = [Packed(Sequences([text], [text]), len(text), 0).batch([0]) for text in ids]
    (one, gradient), (other, expected) = map(loss_and_gradient, (packed.batches(1000), alone))
    assert one == pytest.approx(other, rel=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-4)
    # Transformers' own loss of a text, as a second witness.
    with torch.no_grad():
        own = model(input_ids=torch.tensor([ids[2]]), labels=torch.tensor([ids[2]])).loss
        assert float(module.loss(*alone[2])[0]) == pytest.approx(float(own), rel=1e-5)


def test_nothing_is_predicted_across_texts() -> None:
    ids, positions, labels = Packed(
        Sequences([[5, 6, 7], [8, 9]], [[5, 6, 7], [8, 9]]), 6, 0
    ).batch([0])
    assert ids.tolist() == [[5, 6, 7, 8, 9, 0]]
    assert positions.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert labels.tolist() == [[IGNORED, 6, 7, IGNORED, 9, IGNORED]]


def test_texts_end_with_the_end_token_and_nothing_is_unknown(decoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    texts = ["Copy data.", "Ünïcode 中文 \n\t tabs"]
    sequences = sequences_of(texts, tokenizer, 96)
    assert all(ids[-1] == tokenizer.eos_token_id for ids in sequences.ids)
    assert [tokenizer.decode(ids[:-1]) for ids in sequences.ids] == texts


def test_a_killed_pretraining_goes_on_to_the_same_weights(
    decoder: Path,
    pairs: Pairs,
    spec: VerticalSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unbroken = pretrain_decoder(decoder, pairs.answers, spec, tmp_path / "unbroken")
    assert unbroken.loss_after < unbroken.loss_before
    save = SaveLast.on_train_batch_end

    def kill(self: SaveLast, trainer: Any, *rest: Any) -> None:
        save(self, trainer, *rest)
        if trainer.global_step == 8:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(SaveLast, "on_train_batch_end", kill)
        with pytest.raises(KilledError):
            pretrain_decoder(decoder, pairs.answers, spec, tmp_path / "killed")
    assert (tmp_path / "killed" / LAST).exists()
    resumed = pretrain_decoder(decoder, pairs.answers, spec, tmp_path / "killed")
    assert 0 < resumed.facts["resumed_from_step"] < 8
    expected, found = unbroken.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_half_weights_learn_in_float(
    decoder: Path, pairs: Pairs, spec: VerticalSpec, tmp_path: Path
) -> None:
    """Adam's step is smaller than the last digit of a bf16 weight."""
    AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.bfloat16).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(decoder).save_pretrained(tmp_path)
    model = pretrain_decoder(tmp_path, pairs.answers[:8], spec, tmp_path / "run").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_perplexity_of_an_untrained_model_is_near_its_vocabulary(
    decoder: Path, pairs: Pairs
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    module = CausalModule(AutoModelForCausalLM.from_pretrained(decoder), PLAN, 10)
    packed = Packed(sequences_of(pairs.answers, tokenizer, 96), 96, tokenizer.pad_token_id)
    assert np.exp(mean_loss(module, packed.batches(768))) == pytest.approx(len(tokenizer), rel=0.1)
