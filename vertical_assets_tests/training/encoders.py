"""Tiny encoders of several families with tokenizers trained on a few real reviews, for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "initializer_range": 0.15,  # far more than usual, so that random layers do something
}
BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
FAMILIES = ("bert", "roberta", "xlm-roberta")
_NAMES = ("pad", "unk", "cls", "sep", "mask")


def tokenizer_of(family: str, texts: Sequence[str]) -> Tokenizer:
    """As the family's own: WordPiece (BERT), byte-level BPE (RoBERTa), Unigram (XLM-RoBERTa)."""
    trainer: Any
    if family == "bert":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=900, special_tokens=BERT_TOKENS, show_progress=False
        )
        made.train_from_iterator(texts, trainer)
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        return made
    if family == "roberta":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=ROBERTA_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=900, special_tokens=ROBERTA_TOKENS, unk_token="<unk>", show_progress=False
        )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def write_encoder(family: str, texts: Sequence[str], out: Path, layers: int = 4) -> Path:
    """A Hugging Face directory of an encoder with a prediction head; its weights are random."""
    tokenizer = tokenizer_of(family, texts)
    tokens = dict(zip(_NAMES, BERT_TOKENS if family == "bert" else _roberta_order(), strict=True))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in tokens.items()}
    ).save_pretrained(out)
    config_class, model_class = {
        "bert": (BertConfig, BertForMaskedLM),
        "roberta": (RobertaConfig, RobertaForMaskedLM),
        "xlm-roberta": (XLMRobertaConfig, XLMRobertaForMaskedLM),
    }[family]
    torch.manual_seed(7)
    model = model_class(
        config_class(
            **SIZES,
            vocab_size=tokenizer.get_vocab_size(),
            num_hidden_layers=layers,
            pad_token_id=tokenizer.token_to_id(tokens["pad"]),
            bos_token_id=tokenizer.token_to_id(tokens["cls"]),
            eos_token_id=tokenizer.token_to_id(tokens["sep"]),
        )
    )
    for name, parameter in model.named_parameters():
        if name.endswith(
            "bias"
        ):  # zero in a new model, where a cut at the wrong row would not show
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(out)
    return out


def _roberta_order() -> list[str]:
    start, pad, end, unknown, mask = ROBERTA_TOKENS
    return [pad, unknown, start, end, mask]
