"""Base models: found by name, cut to chosen layers, and clear words where that can't be."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import BaseModelError, cut_layers, prepare_base
from vertical_assets_tests.conftest import reviews, tiny
from vertical_assets_tests.training.encoders import FAMILIES, write_encoder

COMMIT = "0" * 40


def spec_of(**model: Any) -> VerticalSpec:
    return VerticalSpec(**tiny(model={"max_tokens": 32, **model}))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [row["text"] for row in reviews(80)]


@pytest.fixture(scope="module")
def bert(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", texts, tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("family", FAMILIES)
def test_chosen_layers_are_kept_and_all_else_survives(
    texts: list[str], tmp_path: Path, family: str
) -> None:
    whole = write_encoder(family, texts, tmp_path / "whole")
    cut_layers(whole, [0, 3], tmp_path / "cut")
    before, after = (
        AutoModelForMaskedLM.from_pretrained(path) for path in (whole, tmp_path / "cut")
    )
    assert after.config.num_hidden_layers == len(after.base_model.encoder.layer) == 2
    expected = {
        name.replace("layer.3.", "layer.1."): value
        for name, value in before.state_dict().items()
        if ".layer.1." not in name and ".layer.2." not in name
    }
    found = after.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (whole, tmp_path / "cut")]
    assert tokenizers[0](texts)["input_ids"] == tokenizers[1](texts)["input_ids"]
    assert tokenizers[0].special_tokens_map == tokenizers[1].special_tokens_map


def test_all_steps_together_tell_their_sizes(bert: Path, texts: list[str], tmp_path: Path) -> None:
    spec = spec_of(base="path", path=str(bert), layers=[0, 3], prune_vocabulary=True)
    base = prepare_base(spec, texts[:20], tmp_path)
    assert [row["layers"] for row in base.sizes] == [4, 4, 2]
    found, pruned, cut = base.sizes
    assert found["vocabulary"] > pruned["vocabulary"] == cut["vocabulary"]
    assert found["parameters"] > pruned["parameters"] > cut["parameters"]
    model = AutoModelForMaskedLM.from_pretrained(base.path)
    assert cut["parameters"] == model.num_parameters()
    assert base.teacher is not None
    assert AutoModel.from_pretrained(base.teacher).config.num_hidden_layers == 4


def test_a_layer_that_is_not_there_is_named(bert: Path, texts: list[str], tmp_path: Path) -> None:
    spec = spec_of(base="path", path=str(bert), layers=[0, 4])
    with pytest.raises(BaseModelError, match=r"names layer 4, but the base has 4 layers, 0 to 3"):
        prepare_base(spec, texts, tmp_path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"base": "path", "path": "x", "layers": [3, 0]}, "rising order"),
        ({"base": "path", "path": "x", "layers": [0, 0]}, "each layer's number once"),
        ({"base": "path", "path": "x", "layers": [-1]}, "greater than or equal to 0"),
        ({"base": "path", "path": "x", "distill": {}}, "its own teacher"),
        ({"base": "scratch", "prune_vocabulary": True}, "nothing to distill or to prune"),
        ({"base": "hub"}, "needs 'name'"),
        ({"base": "path", "path": "x", "revision": "main"}, "revision is of a hub's model"),
        ({"base": "path", "path": "x", "keyword_attention": True}, "has no terms"),
    ],
)
def test_what_can_not_be_is_refused_when_read(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**model)


def test_only_e5_small_is_pruned_unasked() -> None:
    assert spec_of(base="e5_small").model.pruning is not None
    assert spec_of(base="e5_small", prune_vocabulary=False).model.pruning is None
    assert spec_of(base="path", path="x").model.pruning is None


def test_dictionaries_are_read_by_keyword_attention_only(bert: Path) -> None:
    """An edit of them makes the pretrained model stale where it attends to their terms."""
    from vertical_assets.training.assets import build_assets

    def code_version(terms: str, keyword_attention: bool) -> str | None:
        model = {"base": "path", "path": str(bert), "keyword_attention": keyword_attention}
        spec = VerticalSpec(**tiny(model=model, clean={"dictionaries": [{"path": terms}]}))
        specs = [each for asset in build_assets(spec) for each in asset.specs]
        return next(s.code_version for s in specs if s.key.path[-1] == "pretrained_ckpt")

    assert code_version("a.txt", False) == code_version("b.txt", False)
    assert code_version("a.txt", True) != code_version("b.txt", True)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, on a machine without a connection."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_hub_model_comes_from_the_cache(
    bert: Path, texts: list[str], offline: Path, tmp_path: Path
) -> None:
    folder = offline / "models--someone--small-bert"
    shutil.copytree(bert, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    for revision in (None, COMMIT):
        spec = spec_of(base="hub", name="someone/small-bert", revision=revision)
        base = prepare_base(spec, texts, tmp_path / "out")
        assert AutoModel.from_pretrained(base.path).config.num_hidden_layers == 4
        assert base.facts == {"base": "someone/small-bert of the hub", "revision": COMMIT}


@pytest.mark.usefixtures("offline")
def test_a_hub_model_that_is_out_of_reach_names_the_remedy(
    texts: list[str], tmp_path: Path
) -> None:
    spec = spec_of(base="hub", name="someone/absent", revision="v1")
    with pytest.raises(
        BaseModelError, match=r"'someone/absent' \(revision v1\) is not in the cache .* base 'path'"
    ):
        prepare_base(spec, texts, tmp_path)


def test_a_directory_that_is_no_model_is_named(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"has no config\.json"):
        prepare_base(spec_of(base="path", path=str(tmp_path)), texts, tmp_path / "out")


def test_another_build_of_encoder_is_named(texts: list[str], tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    write_encoder("bert", texts, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    size = len(json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"])
    DistilBertModel(
        DistilBertConfig(vocab_size=size, dim=32, n_heads=2, n_layers=2, hidden_dim=32)
    ).save_pretrained(tmp_path)
    with pytest.raises(BaseModelError, match=r"is a distilbert.*built as BERT is: choose another"):
        prepare_base(spec_of(base="path", path=str(tmp_path)), texts, tmp_path / "out")


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_texts_longer_than_the_base_has_positions_are_refused(
    family: str, texts: list[str], tmp_path: Path
) -> None:
    path = write_encoder(family, texts, tmp_path / "base")
    config = json.loads((path / "config.json").read_text())
    # RoBERTa's positions are counted from behind the padding's number.
    positions = config["max_position_embeddings"]
    positions -= config["pad_token_id"] + 1 if family == "roberta" else 0
    spec = spec_of(base="path", path=str(path), max_tokens=positions)
    assert prepare_base(spec, texts, tmp_path / "out").path == path
    longer = spec_of(base="path", path=str(path), max_tokens=positions + 1)
    with pytest.raises(BaseModelError, match=f"has {positions} positions; lower it"):
        prepare_base(longer, texts, tmp_path / "out")
