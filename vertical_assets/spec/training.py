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


class Pretrain(Strict):
    """Masked-language-model training on the domain corpus (SPEC T5)."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_tokens: Positive = 4096
    learning_rate: Annotated[float, Field(gt=0, le=0.01)] = Field(
        default=5e-4, description="Fewer than a million records: 0.0005 (M11)."
    )
    warmup: Fraction = Field(default=0.06, description="Cold start as share of the steps (T7).")
    head_factor: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Learning rate of the prediction head, as multiple of the rest's."
    )
    freeze_layers: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First encoder layers, with the embeddings, that are not adapted."
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    mask: Fraction = Field(default=0.15, description="Share of masked tokens (BERT, 2018).")
    held_out: Fraction = Field(default=0.02, description="Documents kept for the loss check.")
    checkpoint_steps: Positive = 50


class Finetune(Strict):
    """Training of the classifier (SPEC T6-T9, M11-M13)."""

    epochs: Positive = 3
    batch_tokens: Positive = 2048
    learning_rate: Annotated[float, Field(gt=0, le=0.01)] = Field(
        default=5e-4, description="Fewer than a million records: 0.0005 (M11)."
    )
    head_factor: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Learning rate of the new head, as multiple of the encoder's."
    )
    warmup: Fraction = Field(default=0.06, description="Cold start as share of the steps (T7).")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=1e-3, description="L2; the specification's range is 1e-6..1e-3 (M12)."
    )
    label_smoothing: Fraction = Field(default=0.1, description="alpha of T9.")
    class_weights: Literal["none", "sqrt", "balanced"] = Field(
        default="none", description="Inverse class frequency (E1), its root, or none."
    )
    freeze_layers: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First encoder layers that keep their weights (T6)."
    )
    per_group: Positive | None = Field(
        default=None,
        description="Most items of a group (see split.group) in an epoch; each epoch draws others.",
    )
    patience: Positive = Field(default=5, description="Epochs without gain (M13).")
    checkpoint_steps: Positive = 50
