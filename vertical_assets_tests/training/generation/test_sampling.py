"""Answers: the same for the same prompt and seed, in whatever batch they are made."""

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.generation.instruction import tune
from vertical_assets.training.generation.sampling import (
    GumbelNoise,
    generate_answers,
    left_padded,
    likelihoods,
)
from vertical_assets.training.loop.checkpoints import write_checkpoint
from vertical_assets_tests.conftest import tiny_generation

PROMPTS = ["Why?", "How is bisect.bisect_left used, step by step?", "What does x do?", "Why?"]


@pytest.fixture(scope="module")
def tuned(decoder: Path, spec: VerticalSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that knows one answer to everything."""
    folder = tmp_path_factory.mktemp("tuned")
    same = Pairs([f"What does {name} do?" for name in "abcdefghijklmnop"], ["Copy data."] * 16)
    finetune = {**tiny_generation()["finetune"], "epochs": 20, "learning_rate": 0.01}
    longer = VerticalSpec(**tiny_generation(finetune=finetune))
    result = tune(decoder, same, same, longer, folder / "work")
    write_checkpoint(folder / "ckpt", result.model, result.tokenizer, {}, result.log)
    return folder / "ckpt"


def sampling(temperature: float, top_p: float = 1.0, **changes: object) -> VerticalSpec:
    generate = {"max_new_tokens": 12, "temperature": temperature, "top_p": top_p}
    return VerticalSpec(**tiny_generation(generate=generate, **changes))


def test_it_says_what_it_learnt_and_stops_there(tuned: Path) -> None:
    (answer,) = generate_answers(tuned, ["What does q do?"], sampling(0.0))
    assert answer.text == "Copy data."
    assert answer.finished


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_depends_on_seed_and_prompt_only(decoder: Path, temperature: float) -> None:
    spec = sampling(temperature)
    together = generate_answers(decoder, PROMPTS, spec)
    assert together[0] == together[3]
    one_by_one = [generate_answers(decoder, [prompt], spec)[0] for prompt in PROMPTS]
    assert together == one_by_one  # left padding changes nothing
    other = generate_answers(decoder, PROMPTS, sampling(temperature, seed=7))
    assert (together == other) == (temperature == 0.0)


def test_a_prompt_has_an_answer_of_its_own_for_every_seed(decoder: Path) -> None:
    spec = sampling(1.0)
    first, other, again = generate_answers(decoder, ["Why?"] * 3, spec, seeds=[spec.seed, 7, 7])
    assert [first] == generate_answers(decoder, ["Why?"], spec)
    assert first != other == again


def test_noise_samples_from_the_softmax() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    noise = GumbelNoise([3])
    drawn = Counter(int(noise(torch.zeros(1, 1), scores).argmax()) for _ in range(6000))
    for token, probability in enumerate((0.5, 0.3, 0.2)):
        # Five standard deviations of a binomial share.
        assert abs(drawn[token] / 6000 - probability) < 5 * math.sqrt(0.25 / 6000)


def test_a_small_top_p_is_greedy(decoder: Path) -> None:
    sampled = generate_answers(decoder, PROMPTS, sampling(1.0, top_p=0.0001))
    assert sampled == generate_answers(decoder, PROMPTS, sampling(0.0))


def test_prompts_are_padded_on_the_left() -> None:
    ids, mask = left_padded([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [1, 1, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_likelihoods_are_those_of_transformers(tuned: Path, spec: VerticalSpec) -> None:
    pairs = Pairs(["What does q do?", "Why? " * 90, "Why?"], ["Copy data.", "So.", "So it is."])
    first, none, last = likelihoods(tuned, pairs, spec)
    assert none is None  # its prompt fills the row
    assert first is not None
    assert last is not None
    assert first.nats / first.tokens < last.nats / last.tokens
    tokenizer = AutoTokenizer.from_pretrained(tuned)
    prompt = tokenizer("<|user|>Why?<|end|><|assistant|>")["input_ids"]
    ids = torch.tensor([[*prompt, *tokenizer("So it is.<|end|>")["input_ids"]]])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    with torch.no_grad():
        own = AutoModelForCausalLM.from_pretrained(tuned).eval()(input_ids=ids, labels=labels).loss
    assert last.nats / last.tokens == pytest.approx(float(own), rel=1e-4)
