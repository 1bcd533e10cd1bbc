"""Networks as their costs see them: embeddings, equal layers, and the parts of a head on them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from vertical_assets.training.adaptation.first_token import reads_first_token
from vertical_assets.training.loop.loop import set_dropout
from vertical_assets.training.modules.model import VerticalModel, vertical_config
from vertical_assets.training.planning.heads import (
    Part,
    classifier,
    masked_tokens,
    next_tokens,
    vertical,
)
from vertical_assets.training.planning.layers import DecoderLayer, EncoderLayer, Layer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from vertical_assets.spec import Instruct, VerticalSpec

FIRST = ("q_proj", "k_proj", "v_proj")  # what multiplies a layer's input
ATTENTION, GATED = (*FIRST, "o_proj"), ("gate_proj", "up_proj", "down_proj")


class UnknownShapeError(ValueError):
    """A model of a shape whose costs are not known; the message says which are."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What costs depend on."""

    layer: Layer
    layers: int
    vocabulary: int
    embedding_parameters: int
    head_parameters: int  # everything else; a tied decoder counts with the embeddings
    head: tuple[Part, ...]
    predicts: Literal["rows", "tokens"]
    tied: bool = False  # the embeddings are the last matrix too, and learn
    frozen_layers: int = 0  # with the embeddings, where not 0
    first_token: bool = False  # the last layer is a FirstTokenLayer

    @property
    def parameters(self) -> int:
        return (
            self.embedding_parameters + self.layers * self.layer.parameters + self.head_parameters
        )

    @property
    def frozen_embeddings(self) -> bool:
        return self.frozen_layers > 0 or self.layer.adapters > 0

    @property
    def trained_layers(self) -> int:
        return self.layers - self.frozen_layers

    @property
    def trained_head(self) -> int:
        return 0 if self.layer.adapters else self.head_parameters

    @property
    def trained_parameters(self) -> int:
        embeddings = 0 if self.frozen_embeddings else self.embedding_parameters
        return embeddings + self.trained_layers * self.layer.trained + self.trained_head


def network_of(
    config: "PreTrainedConfig", head: Literal["classes", "tokens"], outputs: int, frozen: int
) -> Network:
    """The network of an encoder's configuration; no weight is loaded (device `meta`).

    Args:
        config: with hidden_size, intermediate_size, num_hidden_layers, num_attention_heads.
        head: a classifier over `outputs`, or prediction of masked tokens.
        outputs: number of classes; for tokens, of the vocabulary.
        frozen: first layers that are not trained.

    Raises:
        UnknownShapeError: the model is no encoder of BERT's shape.
    """
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

    with torch.device("meta"):
        if head == "classes":
            config = type(config).from_dict({**config.to_dict(), "num_labels": outputs})
            model = AutoModelForSequenceClassification.from_config(config)
        else:
            model = AutoModelForMaskedLM.from_config(config)
    return network_of_encoder(model, frozen)


def network_of_encoder(model: "PreTrainedModel", frozen: int) -> Network:
    """The network of an encoder that is there, on whatever device: a VerticalModel, a classifier,
    or one that predicts masked tokens.

    Raises:
        UnknownShapeError: the model is no encoder of BERT's shape.
    """
    base = model.base_model
    config = base.config
    if not hasattr(base, "embeddings") or not hasattr(getattr(base, "encoder", None), "layer"):
        raise UnknownShapeError(
            f"{type(model).__name__} is no encoder of BERT's shape; the resource plan knows those"
        )
    embeddings, layers, hidden = _count(base.embeddings), base.encoder.layer, config.hidden_size
    layer = _count(layers[0])
    masked = model.get_output_embeddings() is not None
    if isinstance(model, VerticalModel):
        head = vertical(model)
    elif masked:
        head = masked_tokens(hidden, config.vocab_size, frozen > 0)
    else:
        head = classifier(hidden, model.config.num_labels)
    return Network(
        layer=EncoderLayer(
            parameters=layer,
            trained=layer,
            products=4 * hidden * hidden + 2 * hidden * config.intermediate_size,
            first=3 * hidden * hidden,
            hidden=hidden,
            attended=hidden,
            heads=config.num_attention_heads,
            inner=config.intermediate_size,
            hidden_dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
        ),
        layers=len(layers),
        vocabulary=config.vocab_size,
        embedding_parameters=embeddings,
        head_parameters=_count(model) - embeddings - len(layers) * layer,
        head=head,
        predicts="tokens" if masked else "rows",
        tied=masked and not frozen,
        frozen_layers=min(frozen, len(layers)),
        first_token=not masked and reads_first_token(model),
    )


def decoder_of(config: "PreTrainedConfig", instruct: "Instruct | None") -> "PreTrainedModel":
    """A decoder of a configuration, with the adapters of `instruct`, if any, in its layers; no
    weight is loaded (device `meta`).
    """
    from transformers import AutoModelForCausalLM

    from vertical_assets.training.generation.instruction import with_lora

    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        if instruct is not None:
            with_lora(model, instruct, 0)
    return model


def network_of_decoder(config: "PreTrainedConfig", instruct: "Instruct | None" = None) -> Network:
    """The network of a decoder's configuration, with the adapters of `instruct`, if any.

    Raises:
        UnknownShapeError: the model is no decoder of Llama's shape.
    """
    model = decoder_of(config, instruct)
    layers = getattr(model.base_model, "layers", None)
    if layers is None or not _is_llamas(layers[0]):
        raise UnknownShapeError(
            f"{type(model).__name__} is no decoder of Llama's shape, and the resource plan knows "
            f"those: layers with {', '.join(ATTENTION)}, and {', '.join(GATED)}, as Llama, Mistral "
            "and Qwen2 have them"
        )
    layer: Any = layers[0]
    lookup, hidden = model.get_input_embeddings(), config.hidden_size
    embeddings = _count(lookup)
    named = dict(layer.named_parameters())
    inward = {name: p for name, p in named.items() if "lora_A" in name}
    adapters = sum(p.numel() for name, p in named.items() if "lora_" in name)
    products = {name: p for name, p in named.items() if p.ndim == 2 and "lora_" not in name}
    tied = model.get_output_embeddings().weight is lookup.weight
    return Network(
        layer=DecoderLayer(
            parameters=_count(layer),
            trained=adapters or _count(layer),
            products=_of(products, ""),
            first=_of(products, *FIRST),
            hidden=hidden,
            attended=layer.self_attn.o_proj.in_features,
            heads=config.num_attention_heads,
            inner=config.intermediate_size,
            hidden_dropout=instruct.lora.dropout if instruct and instruct.lora else 0.0,
            attention_dropout=config.attention_dropout,
            adapters=adapters,
            first_adapters=_of(inward, *FIRST),
            adapted=sum(p.shape[1] for p in inward.values()),
            ranks=sum(p.shape[0] for p in inward.values()),
        ),
        layers=len(layers),
        vocabulary=config.vocab_size,
        embedding_parameters=embeddings,
        head_parameters=_count(model) - embeddings - len(layers) * _count(layer),
        head=next_tokens(hidden, config.vocab_size, adapters > 0),
        predicts="tokens",
        tied=tied and not adapters,
    )


def networks_of(config: "PreTrainedConfig", spec: "VerticalSpec") -> tuple[Network, Network]:
    """The networks of a vertical's pretraining and of its fine-tuning, on a base model of this
    configuration. The widest TF-IDF vectors stand for those that the corpus will give.

    Raises:
        UnknownShapeError: the base model is of another shape.
    """
    if spec.model.architecture == "gpt":
        return network_of_decoder(config), network_of_decoder(config, spec.instruct)
    frozen, share = spec.finetune.freeze_layers, spec.finetune.dropout
    pretrained = network_of(config, "tokens", config.vocab_size, spec.pretrain.freeze_layers)
    pretrained = with_dropout(pretrained, spec.pretrain.dropout)
    if spec.model.is_plain(spec.task.kind):
        plain = network_of(config, "classes", max(1, len(spec.labels)), frozen)
        return pretrained, with_dropout(plain, share)
    tfidf, words = spec.features.tfidf, spec.features.word_vectors
    widths = {
        **({"tfidf": tfidf.max_terms} if tfidf else {}),
        **({"word_vectors": words.width} if words else {}),
    }
    with torch.device("meta"):
        model = VerticalModel(vertical_config(config, spec, widths))
    set_dropout(model, share)  # that of the modules too, which have shares of their own
    return pretrained, with_dropout(network_of_encoder(model, frozen), share)


def with_dropout(network: Network, share: float | None) -> Network:
    """The same network with another share of dropout in all of its layers, or, with 0, in nothing
    at all; None leaves it as it is.
    """
    if share is None:
        return network
    return replace(
        network,
        layer=replace(network.layer, hidden_dropout=share, attention_dropout=share),
        head=network.head if share else tuple(replace(part, dropped=0) for part in network.head),
    )


def _is_llamas(layer: nn.Module) -> bool:
    """Whether a layer is made of what DecoderLayer counts, and of nothing else."""
    parts = dict(layer.named_children())
    return set(parts) == {
        "self_attn",
        "mlp",
        "input_layernorm",
        "post_attention_layernorm",
    } and all(
        {name for name, child in parts[part].named_children() if _count(child)} == set(names)
        for part, names in (("self_attn", ATTENTION), ("mlp", GATED))
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _of(weights: Mapping[str, torch.Tensor], *names: str) -> int:
    """How many weights are of layers with one of these names."""
    return sum(each.numel() for key, each in weights.items() if any(name in key for name in names))
