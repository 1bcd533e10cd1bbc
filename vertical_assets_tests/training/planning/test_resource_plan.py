"""The resource plan: what is chosen for which devices, and what a training then really took."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    GPT2Config,
    GPT2LMHeadModel,
)

from vertical_assets.labels.splits import Items
from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.classification import finetune
from vertical_assets.training.generation.decoders import prepare_decoder
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.monitor import (
    MOST_MEMORY,
    USAGE,
    MemoryMonitor,
    note,
)
from vertical_assets.training.planning.assets import memory_verdict
from vertical_assets.training.planning.choices import (
    Choice,
    Devices,
    Job,
    choose,
    found_devices,
    memory_as_configured,
    yaml_of,
)
from vertical_assets.training.planning.networks import Network, network_of
from vertical_assets.training.planning.resource_plan import balance, plan
from vertical_assets_tests.conftest import reviews, tiny, tiny_generation

GB = 10**9


def bert(layers: int, hidden: int) -> Network:
    """BERT of this size: 12 x 768 is base, 24 x 1024 large (Devlin et al. 2018)."""
    config = BertConfig(
        vocab_size=30522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )
    return network_of(config, "classes", 10, 0)


def job(network: Network, tokens: int) -> Job:
    return Job("finetune", network, tokens, 512, 300.0, 1.0, 100, 10**6)


def cards(memory: int, count: int = 1) -> Devices:
    return Devices("cuda", f"made-up card of {memory} GB", count, memory * GB, True)


SMALL, LARGE, HUGE = bert(12, 768), bert(24, 1024), bert(48, 4096)


def summary(choice: Choice) -> tuple[str, int, bool, bool, bool]:
    accumulates = choice.accumulation > 1
    return choice.strategy, choice.devices, accumulates, choice.checkpointing, choice.fits


@pytest.mark.parametrize(
    ("network", "tokens", "devices", "expected"),
    [
        # strategy, devices, accumulation, checkpointing, fits
        (SMALL, 16_384, cards(24), ("single", 1, False, False, True)),
        (SMALL, 262_144, cards(24), ("single", 1, True, False, True)),
        (SMALL, 65_536, cards(80), ("single", 1, False, False, True)),
        (LARGE, 65_536, cards(24, 8), ("ddp", 8, False, False, True)),
        (HUGE, 65_536, cards(80), ("single", 1, True, False, False)),
        (HUGE, 65_536, cards(80, 8), ("fsdp", 8, True, False, True)),
    ],
)
def test_the_cheapest_way_that_fits(
    network: Network, tokens: int, devices: Devices, expected: tuple[Any, ...]
) -> None:
    (choice,) = choose([job(network, tokens)], devices)
    assert summary(choice) == expected
    assert choice.precision == "bf16-mixed"
    assert choice.fits == (choice.memory.peak <= 0.8 * devices.memory)  # SPEC T1
    assert choice.tokens * choice.devices * choice.accumulation == tokens


def test_the_proposal_is_yaml_that_a_vertical_takes() -> None:
    jobs = [replace(job(LARGE, 131_072), name="pretrain"), job(LARGE, 65_536)]
    proposed = yaml.safe_load(yaml_of(jobs, choose(jobs, cards(24, 8))))
    spec = VerticalSpec(**tiny(**proposed))
    assert spec.processes.devices == 8
    for training, tokens in ((spec.pretrain, 131_072), (spec.finetune, 65_536)):
        assert training.batch_tokens * spec.processes.batches_per_step == tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**tiny()["model"], "modules": [{"type": "sequence", "pooling": "mean"}]}},
        {"finetune": {"privacy": {"epsilon": 8}, "freeze_layers": 1}},
    ],
)
def test_what_is_proposed_is_allowed(changes: dict[str, Any], base: Path, items: Items) -> None:
    """Private trainings have one process, whatever there is."""
    found = plan(VerticalSpec(**tiny(**changes)), base, items.texts, cards(1, 8))
    proposed = yaml.safe_load(yaml_of(found.jobs, found.choices))
    merged = {key: {**changes.get(key, {}), **proposed.get(key, {})} for key in changes | proposed}
    is_private = "privacy" in changes.get("finetune", {})
    assert (VerticalSpec(**tiny(**merged)).processes.count == 1) == is_private


def test_the_plan_of_what_is_configured_is_in_its_precision() -> None:
    usual = job(SMALL, 16_384)

    def peak(**changes: Any) -> int:
        return memory_as_configured(replace(usual, **changes), Processes(), cards(24)).peak

    assert peak() == peak(precision="bf16") < peak(precision="fp32")
    private = {"per_sample": True}  # its norms would be rounded
    assert peak(**private) == peak(**private, precision="fp32")


def test_even_batches_are_balanced_and_others_are_not() -> None:
    even = Steps(np.full(64, 8), 64, 1, 1.0)
    assert balance(even, 4) == 1.0
    uneven = Steps(np.array([4] * 8 + [64] * 8), 64, 1, 1.0)
    assert 1.0 < balance(uneven, 2) <= 2.0


def tiny_spec(**changes: Any) -> VerticalSpec:
    model = {**tiny()["model"], "max_tokens": 24}
    return VerticalSpec(**tiny(model=model, **changes))


@pytest.fixture(scope="module")
def items() -> Items:
    rows = reviews(80)
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def base(items: Items, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_base(tiny_spec(), items.texts, tmp_path_factory.mktemp("base")).path


def test_the_plan_of_a_vertical(base: Path, items: Items) -> None:
    found = plan(tiny_spec(), base, items.texts, found_devices())
    assert found.fits
    value = {(row["training"], row["quantity"]): row["value"] for row in found.rows}
    weights = AutoModel.from_pretrained(base).num_parameters()
    assert value["finetune", "parameters"] == pytest.approx(weights, rel=0.01)  # and its head
    assert value["pretrain", "flops"] >= value["pretrain", "flops_per_step"] > 0
    too_small = plan(tiny_spec(), base, items.texts, Devices("cpu", "toy", 1, 10**6, False))
    assert not too_small.fits
    assert "smaller model" in too_small.remedy


def test_long_texts_are_fine_tuned_in_windows(base: Path, items: Items) -> None:
    """Each text of 24 tokens and more is several rows then, and none of it is cut off."""
    entities = {"name": "terms", "kind": "entities", "labels": {"term": ""}}
    tokens = {}
    for task in ({**tiny()["task"], "kind": "classification"}, entities):
        found = plan(tiny_spec(task=task), base, items.texts, found_devices())
        quantities = {(row["training"], row["quantity"]): row["value"] for row in found.rows}
        tokens[task["kind"]] = quantities["finetune", "tokens"]
    assert tokens["entities"] > 1.2 * tokens["classification"]


ANSWERS = ["Return a shallow copy of x.", "Raise an error where the file is not there."] * 20


def test_the_plan_of_a_decoder(tmp_path: Path) -> None:
    """With adapters, little but the activations is left of what fine-tuning needs."""
    spec = VerticalSpec(**tiny_generation(instruct={"lora": {"rank": 4}}))
    decoder = prepare_decoder(spec, ANSWERS, tmp_path).path
    found = plan(spec, decoder, ANSWERS, cards(1, 8))
    value = {(row["training"], row["quantity"]): row["value"] for row in found.rows}
    weights = AutoModelForCausalLM.from_pretrained(decoder).num_parameters()
    assert value["pretrain", "parameters"] == value["pretrain", "trained_parameters"] == weights
    adapters = value["finetune", "parameters"] - weights
    assert 0 < adapters == value["finetune", "trained_parameters"] < weights / 5
    assert value["finetune", "gradients"] == 4 * adapters
    assert value["pretrain", "flops"] > value["pretrain", "flops_6nd"] > 0  # its logits count
    proposed = yaml.safe_load(yaml_of(found.jobs, found.choices))
    assert VerticalSpec(**tiny_generation(**proposed)).model.architecture == "gpt"


def test_of_a_decoder_of_another_shape_the_plan_says_what_it_knows(tmp_path: Path) -> None:
    spec = VerticalSpec(**tiny_generation())
    decoder = prepare_decoder(spec, ANSWERS, tmp_path).path  # for its tokenizer
    model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2))
    model.save_pretrained(decoder)
    found = plan(spec, decoder, ANSWERS, found_devices())
    value = {(row["training"], row["quantity"]): row["value"] for row in found.rows}
    assert value["pretrain", "parameters"] == model.num_parameters()
    assert value["pretrain", "optimizer"] == 2 * value["pretrain", "weights"]
    assert "flops_6nd" in {quantity for _, quantity in value}
    assert found.fits
    assert "no decoder of Llama's shape" in found.unknown
    assert not found.choices
    small = plan(spec, decoder, ANSWERS, Devices("cpu", "toy", 1, 10**5, False))
    assert "smaller model" in small.remedy


def test_more_than_80_percent_of_the_memory_raises_an_alert(
    base: Path, items: Items, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = tiny_spec(finetune={"epochs": 1, "batch_tokens": 512})
    watch = MemoryMonitor(tmp_path / "watch", most=1e-6)  # as if the memory were a hair
    watch.path.parent.mkdir()
    finetune(base, items, items, spec, tmp_path / "run", more=[watch])
    assert json.loads(watch.path.read_text())["memory_alert"] is True
    assert sum("take over what resource_plan proposes" in line for line in caplog.messages) == 1


@pytest.mark.parametrize(("share", "passes"), [(0.79, True), (0.81, False)])
def test_a_checkpoints_check_warns_of_it(tmp_path: Path, share: float, passes: bool) -> None:
    """What a check warns of is an alert (see `alerting`)."""
    note(tmp_path / USAGE, memory_share=share, memory_alert=share > MOST_MEMORY)
    verdict = memory_verdict(tmp_path)
    assert (verdict.passed, verdict.severity.name) == (passes, "WARN")
    assert f"{share:.0%} of the memory" in str(verdict.description)


def test_processes_default_to_one() -> None:
    assert Processes().batches_per_step == 1
