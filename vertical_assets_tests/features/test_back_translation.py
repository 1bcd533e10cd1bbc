"""Back-translation, the whole way, by tiny Marian models of a toy language (SPEC D11).

No translation model installs from packages: two are made and trained here, in the format of real
ones (a SentencePiece model for each side, a vocabulary, weights). The toy language has one word
for `big` and `large`, so that the way back chooses.
"""

import json
import random
from pathlib import Path

import pytest
import torch

from vertical_assets.features.back_translation import (
    TranslationError,
    Translator,
    back_translate,
)
from vertical_assets.spec.features import BackTranslation

sentencepiece = pytest.importorskip("sentencepiece", reason="the extra 'translation' is missing")

THERE = {"large": "grand", "big": "grand", "dog": "chien", "cat": "chat", "sees": "voit"}
BACK = {"grand": "large", "chien": "dog", "chat": "cat", "voit": "sees"}
SIZES = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 32}
INNER = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}


def train(folder: Path, lexicon: dict[str, str]) -> str:
    """A translation model that puts one word for another, in order."""
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    folder.mkdir()
    rng = random.Random(0)
    known = list(lexicon)
    source = [" ".join(rng.choices(known, k=3)) for _ in range(300)]
    target = [" ".join(lexicon[word] for word in text.split()) for text in source]
    for side, texts in (("source", source), ("target", target)):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_prefix=str(folder / side),
            vocab_size=30,
            model_type="word",
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
    pieces = sorted({f"▁{word}" for pair in lexicon.items() for word in pair})
    vocabulary = {piece: n for n, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = MarianTokenizer(
        *(str(folder / f"{s}.spm") for s in ("source", "target")), str(folder / "vocab.json")
    )
    pad = vocabulary["<pad>"]
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary),
            pad_token_id=pad,
            decoder_start_token_id=pad,
            eos_token_id=0,
            forced_eos_token_id=0,
            scale_embedding=True,
            init_std=0.15,
            dropout=0.0,
            **SIZES,
            **INNER,
            **HEADS,
        )
    )
    batch = tokenizer(source, text_target=target, padding=True, return_tensors="pt")
    batch["labels"] = batch["labels"].masked_fill(batch["labels"] == pad, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    learnt = 1e-3  # until no word is in doubt: how soon depends on the processor's rounding
    for _ in range(1000):
        rows = torch.randint(0, len(source), (32,))
        loss = model(**{name: values[rows] for name, values in batch.items()}).loss
        if float(loss.detach()) < learnt:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.model.shared.weight.data[pad] = 0  # Marian's decoder starts from zeros
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> BackTranslation:
    folder = tmp_path_factory.mktemp("translation")
    return BackTranslation(
        forward=train(folder / "there", THERE),
        backward=train(folder / "back", BACK),
        beams=2,
        max_tokens=8,
        batch_tokens=16,  # several batches
    )


TEXTS = ["big dog sees", "large cat sees", "cat big dog", "dog sees cat", "sees large big"]


def test_texts_go_there_and_back(models: BackTranslation) -> None:
    assert Translator(models.forward, models)(list(TEXTS)) == [
        "grand chien voit",
        "grand chat voit",
        "chat grand chien",
        "chien voit chat",
        "voit grand grand",
    ]
    assert back_translate(TEXTS, models) == [text.replace("big", "large") for text in TEXTS]


def test_what_can_t_be_translated_is_told_not_cut(models: BackTranslation) -> None:
    assert back_translate([TEXTS[0], "dog " * 9, ""], models) == ["large dog sees", None, None]
    assert back_translate([], models) == []


def test_a_converted_model_translates_alike(models: BackTranslation, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2", reason="the extra 'translation' is missing")
    from ctranslate2.converters import TransformersConverter

    files = ["source.spm", "target.spm", "vocab.json", "tokenizer_config.json"]
    converter = TransformersConverter(models.forward, copy_files=files)
    converted = converter.convert(str(tmp_path / "converted"))
    ours = Translator(converted, models)(list(TEXTS))
    assert ours == Translator(models.forward, models)(list(TEXTS))


def test_a_model_that_is_not_there_is_named(models: BackTranslation, tmp_path: Path) -> None:
    with pytest.raises(TranslationError, match=r"nowhere.*opus-mt-zh-en"):
        Translator(str(tmp_path / "nowhere"), models)
