"""Keyword attention: the plain model at zero, learned above it, from training to release."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.inference.windows import single_windows
from vertical_assets.labels.splits import Items
from vertical_assets.release.networks import Network, to_openvino
from vertical_assets.spec import VerticalSpec
from vertical_assets.training import finetuning
from vertical_assets.training.adaptation.base_models import BaseModelError, prepare_base
from vertical_assets.training.adaptation.keyword_attention import (
    KeywordAttentionError,
    keyword_terms,
)
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.classification import finetune
from vertical_assets.training.loop.loop import freeze
from vertical_assets.training.modules.data import inputs_of
from vertical_assets.training.pretraining import pretrain
from vertical_assets_tests.conftest import reviews, tiny
from vertical_assets_tests.training.encoders import write_encoder

TERMS = ["质量", "服务", "这本书", "价格"]
BIAS = "encoder.layer.{}.attention.self.keyword_bias.weight"


@pytest.fixture(scope="module")
def items() -> Items:
    rows = reviews(160)
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def plain(items: Items, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", items.texts, tmp_path_factory.mktemp("plain"), layers=2)


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("dictionary") / "terms.txt"
    file.write_text("".join(f"{term}\n" for term in TERMS), encoding="utf-8")
    return file


def spec_of(base: Path, dictionary: Path, **keywords: Any) -> VerticalSpec:
    return VerticalSpec(
        **tiny(
            model={
                "base": "path",
                "path": str(base),
                "keyword_attention": {"dictionaries": [{"path": str(dictionary)}], **keywords},
                "max_tokens": 32,
            },
            pretrain={"epochs": 1, "batch_tokens": 1024, "head_factor": 20},
            finetune={"epochs": 1, "batch_tokens": 512, "head_factor": 20},
            quantize={"calibration_texts": 10},
        )
    )


@pytest.fixture
def spec(plain: Path, dictionary: Path) -> VerticalSpec:
    return spec_of(plain, dictionary)


@pytest.fixture
def keyworded(spec: VerticalSpec, items: Items, tmp_path: Path) -> Path:
    return prepare_base(spec, items.texts, tmp_path / "base").path


def set_biases(checkpoint: Path, value: float, out: Path) -> Path:
    """The checkpoint with every addend at a value."""
    model = AutoModelForMaskedLM.from_pretrained(checkpoint)
    with torch.no_grad():
        for layer in model.base_model.encoder.layer:
            layer.attention.self.keyword_bias.weight.fill_(value)
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(out)
    return out


def test_tokens_of_terms_are_marked(keyworded: Path, spec: VerticalSpec, plain: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(keyworded)
    assert keyword_terms(tokenizer) == sorted(TERMS)
    ids, mask = tokenized(["质量不错", "服务"], tokenizer, spec).padded([0, 1])
    for row in (0, 1):
        for token, kind in zip(tokenizer.convert_ids_to_tokens(ids[row]), mask[row], strict=True):
            of_a_term = token.strip("#") in ("质", "量", "质量", "服", "务", "服务")
            assert int(kind) == (0 if token == "[PAD]" else 2 if of_a_term else 1)
    _, mask = tokenized(["质量不错"], AutoTokenizer.from_pretrained(plain), spec).padded([0])
    assert set(mask[0].tolist()) == {1}


def test_at_zero_it_is_the_plain_model(
    keyworded: Path, plain: Path, items: Items, spec: VerticalSpec
) -> None:
    ids, mask = tokenized(items.texts, AutoTokenizer.from_pretrained(keyworded), spec).padded(
        range(40)
    )
    assert set(mask.flatten().tolist()) == {0, 1, 2}
    with torch.no_grad():
        expected, found = (
            AutoModelForMaskedLM.from_pretrained(path).eval()(input_ids=ids, attention_mask=given)
            for path, given in ((plain, mask.clamp(max=1)), (keyworded, mask))
        )
    assert torch.equal(expected.logits, found.logits)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_addend_is_in_the_logits_of_keys_of_terms(
    keyworded: Path, tmp_path: Path, implementation: str
) -> None:
    """Attention by hand: softmax of the plain scores plus the addend at the term's tokens."""
    checkpoint = set_biases(keyworded, 1.3, tmp_path / "set")
    model = AutoModel.from_pretrained(checkpoint, attn_implementation=implementation).eval()
    attention = model.encoder.layer[0].attention.self
    mask = torch.tensor([[1, 2, 2, 1, 0], [1, 1, 1, 1, 2]])
    seen: dict[str, torch.Tensor] = {}
    attention.register_forward_hook(
        lambda _module, given, made: seen.update(states=given[0], found=made[0])
    )
    ids = torch.randint(5, 60, (2, 5))
    with torch.no_grad():
        model(input_ids=ids, attention_mask=mask)
        shape = (2, 5, attention.num_attention_heads, attention.attention_head_size)
        q, k, v = (
            part(seen["states"]).view(shape).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        scores = q @ k.transpose(2, 3) * attention.scaling
        scores = scores + 1.3 * (mask == 2).float()[:, None, None, :]
        scores = scores.masked_fill((mask == 0)[:, None, None, :], float("-inf"))
        expected = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(seen["found"], expected, rtol=0, atol=1e-5)


def test_it_learns_in_pretraining_and_finetuning_and_is_opened_again(
    keyworded: Path, items: Items, spec: VerticalSpec, tmp_path: Path
) -> None:
    adapted = pretrain(keyworded, items.texts, spec, tmp_path / "pretrain")
    adapted.model.save_pretrained(tmp_path / "adapted")
    adapted.tokenizer.save_pretrained(tmp_path / "adapted")
    biases = [adapted.model.base_model.get_parameter(BIAS.format(n)).clone() for n in (0, 1)]
    assert all(bias.abs().min() > 0 for bias in biases)
    classifier = finetune(tmp_path / "adapted", items, items, spec, tmp_path / "finetune")
    again = [classifier.model.base_model.get_parameter(BIAS.format(n)) for n in (0, 1)]
    assert not any(torch.equal(one, other) for one, other in zip(biases, again, strict=True))
    out = tmp_path / "finetuned"
    classifier.model.save_pretrained(out)
    classifier.tokenizer.save_pretrained(out)
    opened = AutoModel.from_pretrained(out)
    assert torch.equal(opened.get_parameter(BIAS.format(0)), again[0])
    assert keyword_terms(AutoTokenizer.from_pretrained(out)) == sorted(TERMS)


def served(
    base: Path, texts: list[str], terms: list[str], spec: VerticalSpec
) -> dict[str, np.ndarray]:
    """Inputs as the artifact makes them."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    pad = AutoTokenizer.from_pretrained(base).pad_token_id
    windows = single_windows(texts, tokenizer, pad, spec.model.max_tokens, Terms(terms))
    ids, mask, _ = windows.padded(range(len(texts)))
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.filterwarnings("ignore")  # torch's own tracing, as OpenVINO uses it
def test_openvino_computes_as_torch_does(
    plain: Path, dictionary: Path, items: Items, tmp_path: Path
) -> None:
    """The released graph has the addend too: of any batch and length, far from the plain model."""
    import openvino as ov

    spec = spec_of(plain, dictionary, init=3.0)
    base = prepare_base(spec, items.texts, tmp_path / "base").path
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2).eval()
    torch.nn.init.normal_(model.classifier.weight)
    texts = [text for text in items.texts if any(term in text for term in TERMS)]
    batches = [
        served(base, chosen, terms, spec)
        for chosen, terms in ((texts[:1], TERMS), (texts, TERMS), (texts, []))
    ]
    graph = ov.Core().compile_model(
        to_openvino(Network(model), batches[0]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    with torch.inference_mode():
        answers = [
            (model(**{k: torch.from_numpy(v) for k, v in batch.items()}).logits.numpy(), batch)
            for batch in batches
        ]
    for expected, batch in answers:
        np.testing.assert_allclose(graph(batch)[0], expected, atol=1e-4)
    assert np.abs(answers[1][0] - answers[2][0]).max() > 0.01


def test_the_predictor_marks_terms_as_training_does(keyworded: Path, spec: VerticalSpec) -> None:
    texts = ["这本书的质量不错", "服务"]
    tokenizer = AutoTokenizer.from_pretrained(keyworded)
    ids, mask = tokenized(texts, tokenizer, spec).padded([0, 1])
    found = served(keyworded, texts, TERMS, spec)
    assert found["input_ids"].tolist() == ids.tolist()
    assert found["attention_mask"].tolist() == mask.tolist()


def test_frozen_layers_still_learn_it(keyworded: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(keyworded)
    freeze(model, 1)
    layer = model.base_model.encoder.layer[0]
    trained = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    assert trained == ["attention.self.keyword_bias.weight"]


def test_chosen_layers_and_first_value(
    plain: Path, dictionary: Path, items: Items, tmp_path: Path
) -> None:
    spec = spec_of(plain, dictionary, layers=[1], init=0.5)
    model = AutoModel.from_pretrained(prepare_base(spec, items.texts, tmp_path).path)
    assert [name for name, _ in model.named_parameters() if "keyword" in name] == [BIAS.format(1)]
    assert model.get_parameter(BIAS.format(1)).tolist() == [0.5] * 4


def test_what_can_not_be_is_named(
    plain: Path, dictionary: Path, items: Items, keyworded: Path, tmp_path: Path
) -> None:
    with pytest.raises(BaseModelError, match="names layer 2, but the model has 2 layers"):
        prepare_base(spec_of(plain, dictionary, layers=[2]), items.texts, tmp_path / "a")
    roberta = write_encoder("roberta", items.texts, tmp_path / "roberta", layers=1)
    with pytest.raises(BaseModelError, match="is a roberta"):
        prepare_base(spec_of(roberta, dictionary), items.texts, tmp_path / "b")
    with pytest.raises(BaseModelError, match=r"absent.txt: No such file"):
        prepare_base(spec_of(plain, Path("/absent.txt")), items.texts, tmp_path / "c")
    with pytest.raises(KeywordAttentionError, match="not 'flex_attention'"):
        AutoModel.from_pretrained(keyworded, attn_implementation="flex_attention")
    model = AutoModel.from_pretrained(keyworded)
    with pytest.raises(ValueError, match="this one has 4 dimensions"):
        model(input_ids=torch.ones(1, 2, dtype=torch.long), attention_mask=torch.ones(1, 1, 2, 2))


def test_modules_on_the_encoder_attend_to_terms_too(
    keyworded: Path, items: Items, tmp_path: Path
) -> None:
    """Trained, saved, opened: the windows tell the encoder the terms, and the modules a mask."""
    base = set_biases(keyworded, 3.0, tmp_path / "strong")
    spec = VerticalSpec(
        **tiny(
            model={
                "base": "path",
                "path": "x",
                "modules": [{"type": "sequence", "pooling": "mean"}, {"type": "bilstm"}],
                "fusion": "weighted_sum",
                "max_tokens": 32,
            },
            finetune={"epochs": 1, "batch_tokens": 1024},
        )
    )
    result = finetuning.finetune(base, items, items, spec, tmp_path / "work")
    assert result.model.config.keyword_terms == sorted(TERMS)
    result.model.save_pretrained(tmp_path / "out")
    model = AutoModel.from_pretrained(tmp_path / "out").eval()
    tokenizer = result.tokenizer.backend_tokenizer
    inputs = inputs_of("classification", items.texts[:40], None, tokenizer, model.config, {})
    batch = finetuning.model_inputs(inputs.batch(np.arange(len(inputs.windows.windows))))
    assert set(batch["attention_mask"].flatten().tolist()) == {0, 1, 2}
    with torch.inference_mode():
        logits = model(**batch).logits
        plain = model(**batch | {"attention_mask": batch["attention_mask"].clamp(max=1)}).logits
        assert torch.equal(logits, result.model.eval()(**batch).logits)
    assert (logits - plain).abs().max() > 1e-4
