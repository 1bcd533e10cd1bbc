"""Spec of training: base model, pretraining and fine-tuning (SPEC M1-M13, T5-T9)."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vertical_assets.spec.adaptation import KeywordAttention, Layers, PruneVocabulary, rising
from vertical_assets.spec.compute import Privacy
from vertical_assets.spec.modules import NATURAL, Cascade, ModuleOptions
from vertical_assets.spec.section import Fraction, Positive, Strict

# What of `model` only fine-tuning reads; the base model is the same whatever sits on it.
ON_TOP = ("modules", "fusion", "cascade", "window_overlap")
ON_TOP_SECTIONS = [f"model.{name}" for name in ON_TOP]


class Loop(Strict):
    """What pretraining and fine-tuning have in common (SPEC M11-M13, T6-T8)."""

    learning_rate: Annotated[float, Field(gt=0, le=0.01)] | None = Field(
        default=None,
        description="The peak; null chooses by scale (M11): fewer than a million records 0.0005, "
        "more than ten million 0.005, 0.001 between; less above 20 layers.",
    )
    schedule: Literal["cosine", "step"] = Field(
        default="cosine", description="Cosine to 1/100, or x 0.1 every fifth of the run (T8)."
    )
    cold_start: Literal["constant", "linear"] = Field(
        default="constant",
        description="A tenth of the learning rate, then all of it (T7); or a linear rise.",
    )
    warmup: Fraction = Field(
        default=0.2, description="Cold start as share of the steps: 10,000 of 50,000 (T7, T8)."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=1e-3,
        description="L2; the specification's range is 1e-6..1e-3 (M12). BERT had 0.01 (2018).",
    )
    l1: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="L1, which sets weights to zero; 1e-6..1e-3 (M12)."
    )
    l1_on: Literal["embeddings", "all"] = Field(
        default="embeddings", description="The weights that L1 makes sparse (M12)."
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Learning rate of a layer, as multiple of the one above it."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="Of hidden states and attention; null keeps the base model's."
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        default=1.0, description="Gradients are clipped to this norm (BERT, 2018); null: not."
    )
    head_factor: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Learning rate of the head, as multiple of the encoder's."
    )
    freeze_layers: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="First encoder layers that keep their weights, with the embeddings (T6).",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="bf16 autocast where the device computes in it, else float."
    )
    checkpoint_steps: Positive = 50


class Distill(Loop):
    """A model with fewer layers learns from the one it was cut out of (SPEC M2).

    Sanh et al. 2019 (DistilBERT): the temperature 2 is theirs.
    """

    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_tokens: Positive = 4096
    temperature: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="Of both models' token probabilities."
    )
    alpha_hidden: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="Weight of the hidden states' loss."
    )
    alpha_output: Annotated[float, Field(ge=0)] = Field(
        default=1.0,
        description="Weight of the outputs' loss: masked tokens' probabilities where the base has "
        "a prediction head, sentence embeddings elsewhere.",
    )

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if self.alpha_hidden == self.alpha_output == 0:
            raise ValueError(
                "model.distill: alpha_hidden and alpha_output are both 0, so nothing is learnt; "
                "raise one"
            )
        return self


class Model(Strict):
    """The base model, how it is adapted, its input length (SPEC M1-M3) and what sits on it (SPEC
    M5-M10).
    """

    architecture: Literal["bert", "gpt"] = Field(
        default="bert", description="bert understands, gpt generates (M1)."
    )
    base: Literal["package", "path", "hub", "e5_small", "scratch"] = Field(
        description="A model directory in an installed package or at a path, a model of the "
        "Hugging Face hub, the packaged multilingual-e5-small, or new weights with a tokenizer "
        "trained on the corpus."
    )
    package: str | None = None
    resource: str | None = Field(default=None, description="Directory inside the package.")
    path: str | None = Field(default=None, description="A Hugging Face model directory.")
    name: str | None = Field(default=None, description="Model of the hub, owner/name.")
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of the hub's model; its main one if None."
    )
    layers: Layers | None = Field(
        default=None, description="Layers of the base that are kept, e.g. 12 -> 6 (M2)."
    )
    distill: Distill | None = Field(
        default=None, description="The kept layers learn from the whole model (M2)."
    )
    prune_vocabulary: PruneVocabulary | bool | None = Field(
        default=None,
        description="The tokenizer keeps the pieces that the corpus uses; by default of e5_small "
        "only, most of whose vocabulary serves other languages.",
    )
    keyword_attention: KeywordAttention | bool = Field(
        default=False, description="A learned addend on attention to terms of the domain (M3)."
    )
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    hidden_size: Positive = Field(default=256, description="Width, from scratch only.")
    vocabulary: Positive = Field(default=8000, description="Pieces, from scratch only.")
    modules: tuple[ModuleOptions, ...] | None = Field(
        default=None,
        min_length=1,
        description="What sits on the encoder; by default the natural one of the task's kind.",
    )
    fusion: Literal["weighted_sum", "attention_gate"] | None = Field(
        default=None, description="How several modules' outputs become one (M7)."
    )
    cascade: Cascade | None = Field(default=None, description="A cheap model goes first (M8).")
    window_overlap: Positive | None = Field(
        default=None,
        description="Tokens that neighbouring windows share where a text of entities or question "
        "answering is longer than max_tokens; by default an eighth of it.",
    )

    @property
    def base_sections(self) -> list[str]:
        """What the base model is made from, as names for `VerticalSpec.asset(reads=...)`."""
        return [f"model.{name}" for name in type(self).model_fields if name not in ON_TOP]

    def modules_of(self, kind: str) -> tuple[Any, ...]:
        """The modules of a task of this kind, each with its options."""
        return self.modules if self.modules is not None else (NATURAL[kind],)

    def is_plain(self, kind: str) -> bool:
        """Whether transformers' own sequence classifier is all that is asked for."""
        return kind == "classification" and self.modules_of(kind) == (NATURAL[kind],)

    @property
    def overlap(self) -> int:
        """Tokens that neighbouring windows share."""
        return self.window_overlap or self.max_tokens // 8

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.base == "scratch" and self.hidden_size % (64 if self.hidden_size > 64 else 2):
            raise ValueError(
                f"model.hidden_size {self.hidden_size} can't be parted into heads of 64; use a "
                "multiple of 64, or an even number below it"
            )
        return self

    @model_validator(mode="after")
    def _decoder_can_be_made(self) -> Self:
        if self.architecture != "gpt":
            return self
        if self.base == "e5_small":
            raise ValueError("model.base 'e5_small' is an encoder; use another with 'gpt'")
        if self.base != "scratch" and self.layers:
            raise ValueError("model.layers can't be chosen of a decoder; remove it")
        for name in (*ON_TOP, "distill", "prune_vocabulary", "keyword_attention"):
            if getattr(self, name):
                raise ValueError(f"model.{name} is for encoders; remove it, or use 'bert'")
        return self

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.overlap > self.max_tokens // 4:
            raise ValueError(
                f"model.window_overlap ({self.overlap}) is more than a quarter of "
                f"model.max_tokens ({self.max_tokens}); lower it"
            )
        return self

    @model_validator(mode="after")
    def _base_is_named(self) -> Self:
        if self.base == "package" and not (self.package and self.resource):
            raise ValueError("model.base 'package' needs 'package' and 'resource'; add both")
        if self.base == "path" and not self.path:
            raise ValueError("model.base 'path' needs 'path', a Hugging Face model directory")
        if self.base == "hub" and not self.name:
            raise ValueError("model.base 'hub' needs 'name', e.g. intfloat/multilingual-e5-small")
        if self.revision and self.base != "hub":
            raise ValueError("model.revision is of a hub's model; remove it, or use base 'hub'")
        return self

    @model_validator(mode="after")
    def _adaptable(self) -> Self:
        rising(self.layers, "model.layers")
        if self.distill and not self.layers:
            raise ValueError(
                "model.distill needs 'layers': uncut, the model is its own teacher; add the layers "
                "to keep, e.g. [0, 2, 4, 6, 8, 10]"
            )
        if self.base == "scratch" and (self.distill or self.prune_vocabulary):
            raise ValueError(
                "model.base 'scratch' has new weights and a tokenizer made of the corpus: there is "
                "nothing to distill or to prune; remove 'distill' and 'prune_vocabulary'"
            )
        return self

    @property
    def described(self) -> str:
        """In words: which base, and what is done to it before it is trained on."""
        where = {"package": self.package, "path": self.path, "hub": self.name}.get(self.base)
        steps = [f"{self.base} {where}" if where else self.base]
        if self.pruning:
            steps.append("vocabulary pruned to the corpus")
        if self.layers and self.base != "scratch":
            numbers = ", ".join(map(str, self.layers))
            steps.append(f"layers {numbers} kept{' and distilled' if self.distill else ''}")
        if self.keywords:
            steps.append("keyword attention")
        return "; ".join(steps)

    @property
    def pruning(self) -> PruneVocabulary | None:
        """How the vocabulary is pruned; None where it is not."""
        if isinstance(self.prune_vocabulary, PruneVocabulary):
            return self.prune_vocabulary
        wanted = self.prune_vocabulary
        return PruneVocabulary() if wanted or (wanted is None and self.base == "e5_small") else None

    @property
    def keywords(self) -> KeywordAttention | None:
        """The keyword attention; None where there is none."""
        if isinstance(self.keyword_attention, KeywordAttention):
            return self.keyword_attention
        return KeywordAttention() if self.keyword_attention else None


class Pretrain(Loop):
    """Training on the unlabelled corpus (SPEC T5): masked tokens by an encoder, the next token by a
    decoder.
    """

    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_tokens: Positive = 4096
    packing: bool = Field(
        default=False,
        description="Documents of any length end to end, without padding, each attending to "
        "itself only; or batches of documents of similar length.",
    )
    mask: Fraction = Field(default=0.15, description="Share of masked tokens (BERT, 2018).")
    held_out: Fraction = Field(default=0.02, description="Documents kept for the loss check.")


class WarmStart(Strict):
    """Training goes on from the last checkpoint where only labels came (SPEC T12, C5)."""

    epochs: Positive = 1
    replay: Fraction = Field(
        default=0.5, description="Share of the items known before that are learnt again."
    )
    learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="Learning rate, as multiple of a cold start's."
    )
    max_drop: Annotated[float, Field(ge=0)] = Field(
        default=0.01,
        description="Most that the score may fall on validation items known before; of a "
        "regression, most that the error may rise, as share of it.",
    )
    on_drop: Literal["warn", "block"] = Field(
        default="warn",
        description="What a greater fall does: the release weighs the scores anyway, and a small "
        "validation set moves by more than this when one item changes.",
    )


class Finetune(Loop):
    """Training on labelled items (SPEC T6-T9, M11-M13)."""

    epochs: Positive = 3
    batch_tokens: Positive = 2048
    label_smoothing: Fraction = Field(
        default=0.1,
        description="alpha of T9, for classes, labels, tags and a decoder's tokens; a CRF, places "
        "of answers and numbers know none.",
    )
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        default="none",
        description="Inverse class frequency (E1), its root, or none; of classification and "
        "multi_label.",
    )
    per_group: Positive | None = Field(
        default=None,
        description="Most items of a group (see split.group) in an epoch; each epoch draws others.",
    )
    patience: Positive = Field(default=5, description="Epochs without gain (M13).")
    warm_start: WarmStart | None = Field(
        default=None, description="How training goes on when labels come; null: always from new."
    )
    privacy: Privacy | None = Field(
        default=None, description="Differential privacy of the items learnt from (X1)."
    )

    @model_validator(mode="after")
    def _private(self) -> Self:
        if self.privacy is None:
            return self
        if self.freeze_layers < 1:
            raise ValueError(
                "finetune.privacy needs frozen embeddings (an own gradient of the whole vocabulary "
                "for each item would not fit in memory); set finetune.freeze_layers to 1 or more"
            )
        if self.warm_start is not None:
            raise ValueError(
                "finetune.privacy counts what one training reveals, and warm_start adds trainings "
                "to trainings; remove one of the two"
            )
        if self.class_weights != "none" or self.per_group is not None:
            raise ValueError(
                "finetune.privacy draws every item with the same chance and weight; remove "
                "class_weights and per_group"
            )
        return self


# What of `finetune` a checkpoint comes from: how the next training begins changes none that is
# there.
LEARNT_BY = [f"finetune.{name}" for name in Finetune.model_fields if name != "warm_start"]
