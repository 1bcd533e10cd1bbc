"""VerticalSpec: a vertical's YAML as typed, frozen pydantic models.

Every default is the number of the specification and names its clause (SPEC D8 = clause D8).
Nothing here imports Dagster or a model library, so that a spec can be read anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from vertical_assets.spec.corpus import (
    Clean,
    Dedup,
    Deidentify,
    Rules,
    Source,
    SpotCheck,
)
from vertical_assets.spec.section import Fraction, Name, Positive, Strict

__all__ = [
    "Agreement",
    "Annotation",
    "Clean",
    "Dedup",
    "Deidentify",
    "Evaluate",
    "Finetune",
    "Model",
    "Pretrain",
    "Quantize",
    "Rules",
    "Simulate",
    "Source",
    "Split",
    "SpotCheck",
    "Task",
    "VerticalSpec",
]


class Task(Strict):
    """A label standard (SPEC D6): the class system with its definitions."""

    name: Name
    kind: Literal["classification"] = "classification"
    labels: dict[str, str] = Field(description="Label -> its definition.")

    @field_validator("labels")
    @classmethod
    def _two_classes(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) < 2:
            raise ValueError(
                "a classification task needs at least two labels; "
                "list each as 'label: definition' under 'task.labels'"
            )
        return labels


class Simulate(Strict):
    """Simulated annotators: gold labels with a stated error rate, named `simulated` in every row.

    For demonstrations only, where no package ships several people's labels.
    """

    gold: str = Field(description="Entry of `meta` that holds the gold label.")
    annotators: Annotated[int, Field(ge=2)] = 3
    error_rate: Fraction = 0.03


class Annotation(Strict):
    """Who labels: files dropped by people, or simulated annotators."""

    path: str | None = Field(
        default=None,
        description="JSON-lines files of annotations, relative to `data/<vertical>/`.",
    )
    simulate: Simulate | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.simulate is None):
            raise ValueError(
                "annotation needs exactly one of 'path' (files of people's labels) "
                "or 'simulate' (labels made from gold); keep one"
            )
        return self


class Agreement(Strict):
    """The gate between people's labels and training (SPEC D8)."""

    alpha: Annotated[float, Field(gt=-1.0, le=1.0)] = Field(
        default=0.85, description="Least Krippendorff's alpha (D8)."
    )
    bootstrap: Positive = Field(default=500, description="Rounds for the 95 % interval.")


class Split(Strict):
    """Which items are held out; decided by hash, so that an item never changes its split."""

    validation: Fraction = 0.1
    test: Fraction = 0.2
    group: str | None = Field(
        default=None,
        description="Entry of `meta` that keeps items together, beyond near duplicates.",
    )

    @model_validator(mode="after")
    def _room_for_training(self) -> Self:
        if self.validation + self.test >= 1.0:
            raise ValueError(
                f"split.validation + split.test = {self.validation + self.test:g} leaves nothing "
                "to train on; lower one of them"
            )
        return self


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


class Evaluate(Strict):
    """What counts as good (SPEC E1)."""

    f1: Fraction = Field(default=0.90, description="F1 from which a model is excellent (E1).")


class Quantize(Strict):
    """INT8 quantization (SPEC P3, P4)."""

    calibration_texts: Positive = 300
    max_f1_drop: Fraction = Field(default=0.01, description="Macro F1 may fall by one point.")


class VerticalSpec(Strict):
    """One vertical: a domain, its sources, its labels and its model (SPEC D1)."""

    name: Name
    domain: str
    language: str = Field(description="Main language of the texts, e.g. zh or en.")
    owner: str = Field(default="team:vertical_assets", description="An e-mail or team:NAME.")
    seed: int = 20_240_501
    sources: tuple[Source, ...]
    sensitive: bool = Field(default=False, description="Tables are stored encrypted, AES-256 (X2).")
    rules: Rules = Rules()
    deidentify: Deidentify = Deidentify()
    clean: Clean = Clean()
    dedup: Dedup = Dedup()
    spot_check: SpotCheck = SpotCheck()
    task: Task
    annotation: Annotation
    agreement: Agreement = Agreement()
    split: Split = Split()
    model: Model
    pretrain: Pretrain = Pretrain()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()
    quantize: Quantize = Quantize()

    @field_validator("sources")
    @classmethod
    def _unique_sources(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names:
            raise ValueError("a vertical needs at least one source; add one under 'sources'")
        if twice:
            raise ValueError(
                f"two sources are named {twice[0]!r}; a source is a partition, rename one"
            )
        return sources

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        layers = self.model.layers
        if layers and self.finetune.freeze_layers > len(layers):
            raise ValueError(
                f"finetune.freeze_layers ({self.finetune.freeze_layers}) is more than the "
                f"{len(layers)} layers that model.layers keeps; lower it"
            )
        return self

    @model_validator(mode="after")
    def _daft_reads_plain_files(self) -> Self:
        if self.sensitive and self.dedup.engine == "daft":
            raise ValueError(
                "dedup.engine 'daft' can't read the encrypted tables of a sensitive vertical; use "
                "'local'"
            )
        return self

    @property
    def dedup_unit(self) -> Literal["character", "word"]:
        """Characters where words are not separated by spaces."""
        return self.dedup.unit or ("character" if self.language in ("zh", "ja") else "word")

    @property
    def dedup_ngram(self) -> int:
        return self.dedup.ngram or (3 if self.dedup_unit == "character" else 2)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return tuple(self.task.labels)

    @property
    def source_names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.sources)

    def source(self, name: str) -> Source:
        return next(source for source in self.sources if source.name == name)

    def digest(self, reads: Sequence[str]) -> str:
        """Digest of the named sections; `a.b` names one key of a section."""
        values: dict[str, Any] = {}
        for section in sorted(reads):
            value: Any = self
            for key in section.split("."):
                value = getattr(value, key)
            values[section] = _plain(value)
        canonical = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def asset(
        self, stage: str, name: str, *, version: str, reads: Sequence[str], kinds: set[str]
    ) -> dict[str, Any]:
        """Arguments of `dg.asset` / `dg.AssetSpec` for an asset of this vertical.

        The code version is the stage's declared version and a digest of exactly the sections
        that the asset reads, so that an edit of the YAML makes stale what it touches only.
        """
        if "parquet" in kinds:  # encrypted, a table is another one
            reads = [*reads, "sensitive"]
        return {
            "key": [self.name, name],
            "group_name": stage,
            "code_version": f"{version}-{self.digest(reads)}",
            "kinds": kinds,
            "owners": [self.owner],
            "tags": {"vertical": self.name, "stage": stage},
        }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
