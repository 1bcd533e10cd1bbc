"""Spec of training: base model, pretraining and fine-tuning (SPEC M1-M13, T5-T9)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vertical_assets.spec.section import Fraction, Positive, Strict


class Model(Strict):
    """The base model and its input length (SPEC M1, M2)."""

    base: Literal["package", "path", "e5_small", "scratch"] = Field(
        description="A model directory in an installed package or at a path, the packaged "
        "multilingual-e5-small, or new weights with a tokenizer trained on the corpus."
    )
    package: str | None = None
    resource: str | None = Field(default=None, description="Directory inside the package.")
    path: str | None = Field(default=None, description="A Hugging Face model directory.")
    layers: tuple[int, ...] | None = Field(
        default=None, description="Layers of the base that are kept, e.g. 12 -> 6 (M2)."
    )
    max_tokens: Annotated[int, Field(ge=8, le=512)] = 128
    hidden_size: Positive = Field(default=256, description="Width, from scratch only.")
    vocabulary: Positive = Field(default=8000, description="Pieces, from scratch only.")

    @model_validator(mode="after")
    def _base_is_named(self) -> Self:
        if self.base == "package" and not (self.package and self.resource):
            raise ValueError("model.base 'package' needs 'package' and 'resource'; add both")
        if self.base == "path" and not self.path:
            raise ValueError("model.base 'path' needs 'path', a Hugging Face model directory")
        return self


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
        default=1e-3, description="L2; the specification's range is 1e-6..1e-3 (M12)."
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


class Pretrain(Loop):
    """Masked-language-model training on the domain corpus (SPEC T5)."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_tokens: Positive = 4096
    packing: bool = Field(
        default=False,
        description="Documents of any length end to end, without padding, each attending to "
        "itself only; or batches of documents of similar length.",
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.01, description="L2 (M12); the value of BERT's own training."
    )
    mask: Fraction = Field(default=0.15, description="Share of masked tokens (BERT, 2018).")
    held_out: Fraction = Field(default=0.02, description="Documents kept for the loss check.")


class Finetune(Loop):
    """Training of the classifier (SPEC T6-T9, M11-M13)."""

    epochs: Positive = 3
    batch_tokens: Positive = 2048
    label_smoothing: Fraction = Field(default=0.1, description="alpha of T9.")
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        default="none", description="Inverse class frequency (E1), its root, or none."
    )
    per_group: Positive | None = Field(
        default=None,
        description="Most items of a group (see split.group) in an epoch; each epoch draws others.",
    )
    patience: Positive = Field(default=5, description="Epochs without gain (M13).")
