"""Decoders to start from: new ones are the same every time, existing ones get what they lack."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import BaseModelError
from vertical_assets.training.generation.decoders import prepare_decoder
from vertical_assets_tests.conftest import tiny_generation

QUESTION = [{"role": "user", "content": "Why?"}]
ANSWER = {"role": "assistant", "content": "So."}


def test_the_same_corpus_gives_the_same_bytes(
    decoder: Path, pairs: Pairs, spec: VerticalSpec, tmp_path: Path
) -> None:
    again = prepare_decoder(spec, pairs.answers, tmp_path).path
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / name).read_bytes() == (decoder / name).read_bytes()


def test_the_chat_template_is_in_the_tokenizer(decoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    assert tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True) == (
        "<|user|>Why?<|end|><|assistant|>"
    )
    whole = tokenizer.apply_chat_template([*QUESTION, ANSWER], tokenize=False)
    assert whole == "<|user|>Why?<|end|><|assistant|>So.<|end|>"
    assert tokenizer.eos_token == "<|end|>"
    ids = tokenizer(whole)["input_ids"]  # a role or an end is one token
    assert sum(number in ids for number in tokenizer.all_special_ids) == 3


def test_an_existing_decoder_gets_padding_and_roles(decoder: Path, tmp_path: Path) -> None:
    """As GPT-2's: without padding, without a chat template."""
    old = tmp_path / "old"
    tokenizer = AutoTokenizer.from_pretrained(decoder, extra_special_tokens=[])
    tokenizer.chat_template = tokenizer.pad_token = None
    tokenizer.save_pretrained(old)
    size = len(tokenizer)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=32, n_layer=1, n_head=2, n_positions=96)
    ).save_pretrained(old)
    model = {"architecture": "gpt", "base": "path", "path": str(old), "max_tokens": 96}
    spec = VerticalSpec(**tiny_generation(model=model))
    made = prepare_decoder(spec, [], tmp_path / "new").path
    tokenizer = AutoTokenizer.from_pretrained(made)
    assert tokenizer.pad_token is not None
    assert tokenizer.apply_chat_template([*QUESTION, ANSWER], tokenize=False).endswith("So.<|end|>")
    rows = AutoModelForCausalLM.from_pretrained(made).get_input_embeddings().num_embeddings
    assert rows >= len(tokenizer)


def test_an_encoder_is_no_decoder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
    model = {"architecture": "gpt", "base": "path", "path": str(tmp_path), "max_tokens": 96}
    with pytest.raises(BaseModelError, match="holds no decoder"):
        prepare_decoder(VerticalSpec(**tiny_generation(model=model)), [], tmp_path / "new")
