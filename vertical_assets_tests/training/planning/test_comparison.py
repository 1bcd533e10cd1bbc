"""Predicted beside measured, in finished trainings: the plan promises 15 % (SPEC M4)."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.finetuning import finetune
from vertical_assets.training.generation.causal import pretrain_decoder
from vertical_assets.training.generation.decoders import prepare_decoder
from vertical_assets.training.generation.instruction import tune
from vertical_assets.training.loop.monitor import usage
from vertical_assets.training.modules.data import VectorSource
from vertical_assets.training.modules.model import VerticalModel
from vertical_assets.training.planning.comparison import predicted_and_measured
from vertical_assets.training.planning.networks import (
    network_of_decoder,
    network_of_encoder,
    networks_of,
    with_dropout,
)
from vertical_assets_tests.conftest import questions_of, tiny_generation
from vertical_assets_tests.training.test_finetuning import Bag, Length, items, spec_of

SEQUENCE, MEAN = {"type": "sequence"}, {"type": "sequence", "pooling": "mean"}
TFIDF, WORDS, BILSTM = {"type": "tfidf"}, {"type": "word_vectors"}, {"type": "bilstm", "hidden": 48}
SOURCES: dict[str, VectorSource] = {"tfidf": Bag(), "word_vectors": Length()}


def within_15_percent(compared: dict[str, Any]) -> bool:
    return all(abs(compared[name] - 1) <= 0.15 for name in ("bytes_ratio", "flops_ratio"))


def sized(spec: VerticalSpec, **finetuning: Any) -> VerticalSpec:
    """States of 64, of which activations are more than of the 32 of other tests."""
    model = spec.model.model_copy(update={"hidden_size": 64})
    settings = spec.finetune.model_copy(update={"batch_tokens": 512, "epochs": 1, **finetuning})
    return spec.model_copy(update={"model": model, "finetune": settings})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = items("regression", 100, 0).texts
    return prepare_base(sized(spec_of("regression")), texts, tmp_path_factory.mktemp("base")).path


@pytest.mark.parametrize(
    ("kind", "modules", "model", "finetuning"),
    [
        ("classification", None, {}, {}),  # transformers' own classifier
        ("multi_label", [SEQUENCE], {}, {}),
        ("multi_label", [MEAN], {}, {"dropout": 0.0, "freeze_layers": 1}),
        ("regression", None, {}, {"freeze_layers": 1}),
        ("classification", [BILSTM], {}, {}),
        ("classification", [BILSTM], {"max_tokens": 40}, {"dropout": 0.0}),  # rows of many lengths
        ("entities", [{"type": "tokens"}], {}, {"dropout": 0.0}),
        ("entities", None, {}, {}),  # a random field
        ("entities", [{"type": "bilstm_crf", "hidden": 48}], {}, {"freeze_layers": 1}),
        ("question_answering", None, {}, {}),
        ("classification", [SEQUENCE, TFIDF, WORDS], {"fusion": "weighted_sum"}, {}),
        ("multi_label", [BILSTM, MEAN, TFIDF], {"fusion": "attention_gate"}, {"dropout": 0.0}),
    ],
)
def test_fine_tuning_of_modules(
    encoder: Path, tmp_path: Path, kind: str, modules: Any, model: Any, finetuning: Any
) -> None:
    spec = sized(spec_of(kind, modules, **model), **finetuning)
    named = {module.type for module in spec.model.modules_of(kind)}
    sources = {name: source for name, source in SOURCES.items() if name in named}
    given = items(kind, 120, 1), items(kind, 20, 2)
    result = finetune(encoder, *given, spec, tmp_path, sources=sources)
    network = network_of_encoder(result.model, spec.finetune.freeze_layers)
    assert network.parameters == result.facts["parameters"]
    assert network.trained_parameters == result.facts["trained_parameters"]
    compared = predicted_and_measured(network, usage(tmp_path), spec.pretrain.mask)
    assert within_15_percent(compared), compared
    assert 0 < usage(tmp_path)["memory_share"] < 1
    assert usage(tmp_path)["memory_alert"] is False
    if isinstance(result.model, VerticalModel) and not sources:
        # The plan, which sees no weights, counts on the same network.
        planned = networks_of(AutoConfig.from_pretrained(encoder), spec)[1]
        assert planned == with_dropout(network, spec.finetune.dropout)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    rows = questions_of("shutil", "bisect", "textwrap", "heapq", "statistics", "logging")
    short = [row for row in rows if len(row["text"]) < 600]
    return Pairs([row["question"] for row in short], [row["text"] for row in short])


def decoder_spec(**instruct: Any) -> VerticalSpec:
    size = {"layers": [0, 1], "hidden_size": 64, "vocabulary": 600, "max_tokens": 96}
    training = {"epochs": 1, "batch_tokens": 384, "learning_rate": 0.005}
    return VerticalSpec(
        **tiny_generation(
            model={"architecture": "gpt", "base": "scratch", **size},
            pretrain=training,
            finetune=training,
            instruct=instruct,
        )
    )


@pytest.fixture(scope="module")
def decoder(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_decoder(decoder_spec(), pairs.answers, tmp_path_factory.mktemp("decoder")).path


def test_pretraining_of_a_decoder(decoder: Path, pairs: Pairs, tmp_path: Path) -> None:
    result = pretrain_decoder(decoder, pairs.answers, decoder_spec(), tmp_path)
    network = network_of_decoder(result.model.config)
    assert network.parameters == network.trained_parameters == result.facts["parameters"]
    compared = predicted_and_measured(network, usage(tmp_path), result.facts["filled"])
    assert within_15_percent(compared), compared


@pytest.mark.parametrize(
    "instruct",
    [
        {},
        {"lora": {}},
        {"lora": {"rank": 4, "dropout": 0.1, "targets": ["q_proj", "v_proj", "down_proj"]}},
    ],
)
def test_instruction_tuning(decoder: Path, pairs: Pairs, tmp_path: Path, instruct: Any) -> None:
    """Adapters alone have gradients and states; logits are of every token, their loss is not."""
    spec = decoder_spec(**instruct)
    held = Pairs(pairs.prompts[:10], pairs.answers[:10])
    result = tune(decoder, pairs, held, spec, tmp_path)
    network = network_of_decoder(result.model.config, spec.instruct)
    assert network.trained_parameters == result.facts["trained_parameters"]
    answers = result.facts["answer_tokens"] / result.facts["row_tokens"]
    compared = predicted_and_measured(network, usage(tmp_path), answers)
    assert within_15_percent(compared), compared
