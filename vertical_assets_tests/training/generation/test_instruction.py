"""Instruction tuning: the loss is on answers only; adapters are merged into a plain checkpoint."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import Instruct, Pretrain, VerticalSpec
from vertical_assets.training.generation.causal import IGNORED, CausalModule, Packed, plan_of
from vertical_assets.training.generation.instruction import (
    InstructionError,
    tune,
    with_lora,
    write_pairs,
)
from vertical_assets.training.loop.checkpoints import write_checkpoint
from vertical_assets_tests.conftest import tiny_generation

PLAN = plan_of(Pretrain(), 10, 2, seed=1, validations=1)


def test_prompt_tokens_are_not_learnt(decoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    written = write_pairs(Pairs(["Why?"], ["Copy data."]), tokenizer, Instruct(), 96)
    ids, labels = written.sequences.ids[0], written.sequences.labels[0]
    prompt = tokenizer("<|user|>Why?<|end|><|assistant|>")["input_ids"]
    assert ids[: len(prompt)] == prompt
    assert labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert tokenizer.decode(ids[len(prompt) :]) == "Copy data.<|end|>"


def test_the_loss_is_that_of_the_answers_by_hand(decoder: Path, pairs: Pairs) -> None:
    """-log softmax of every answer token, given the prompt and the answer before it."""
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    model = AutoModelForCausalLM.from_pretrained(decoder).eval()
    some = Pairs(pairs.prompts[:6], pairs.answers[:6])
    written = write_pairs(some, tokenizer, Instruct(), 96)
    nats, tokens = 0.0, 0
    for ids, labels in zip(written.sequences.ids, written.sequences.labels, strict=True):
        with torch.no_grad():
            probabilities = model(torch.tensor([ids])).logits[0].softmax(-1)
        for place in range(1, len(ids)):
            if labels[place] != IGNORED:
                nats -= float(probabilities[place - 1, ids[place]].log())
                tokens += 1
    packed = Packed(written.sequences, 96, tokenizer.pad_token_id)
    loss, count = CausalModule(model, PLAN, 10).loss(*packed.batch(range(len(packed.rows))))
    assert count == tokens
    assert float(loss.detach()) == pytest.approx(nats / tokens, rel=1e-5)


def test_pairs_that_do_not_fit_are_counted(decoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    pairs = Pairs(["Why?", "Why? " * 90, "Why?"], ["Copy. " * 90, "So.", "So."])
    written = write_pairs(pairs, tokenizer, Instruct(), 48)
    assert (written.rows, written.too_long, written.cut) == ([0, 2], [1], 1)
    assert max(written.sequences.lengths) == 48


def test_a_template_of_ones_own(decoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}A: {{ m['content'] }}"
        "{% else %}[{{ m['content'] }}]\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A: {% endif %}"
    )
    written = write_pairs(Pairs(["Why?"], ["So."]), tokenizer, Instruct(system="Be brief."), 96)
    assert tokenizer.decode(written.sequences.ids[0]) == "[Be brief.]\n[Why?]\nA: So.<|end|>"
    tokenizer.chat_template = "{{ messages | length }}{{ messages[-1]['content'] }}"
    with pytest.raises(InstructionError, match=r"correct instruct\.template"):
        write_pairs(Pairs(["Why?"], ["So."]), tokenizer, Instruct(), 96)


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}], ids=["all weights", "lora"])
def test_tuning_lowers_the_loss_on_answers_and_opens_as_a_plain_checkpoint(
    decoder: Path, pairs: Pairs, tmp_path: Path, lora: dict[str, int] | None
) -> None:
    spec = VerticalSpec(**tiny_generation(instruct={"lora": lora}))
    held = Pairs(pairs.prompts[::4], pairs.answers[::4])
    result = tune(decoder, pairs, held, spec, tmp_path / "work")
    assert result.loss_after < result.loss_before
    assert (result.facts["trained_parameters"] < result.facts["parameters"]) == bool(lora)
    write_checkpoint(tmp_path / "ckpt", result.model, result.tokenizer, {}, result.log)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "ckpt")
    assert type(opened).__name__ == "LlamaForCausalLM"
    ids = torch.tensor([[5, 40, 90, 7]])
    with torch.no_grad():
        expected = result.model.eval()(ids).logits
        assert torch.allclose(opened.eval()(ids).logits, expected, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "ckpt").chat_template


def test_an_unknown_target_of_lora_is_named(decoder: Path) -> None:
    instruct = Instruct.model_validate({"lora": {"targets": ["no_such_layer"]}})
    with pytest.raises(InstructionError, match=r"instruct\.lora\.targets: .*no_such_layer"):
        with_lora(AutoModelForCausalLM.from_pretrained(decoder), instruct, 1)
