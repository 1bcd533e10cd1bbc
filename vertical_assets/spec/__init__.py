"""VerticalSpec: a vertical's YAML as typed, frozen pydantic models.

Every default is the number of the specification and names its clause (SPEC D8 = clause D8).
Nothing here imports Dagster or a model library, so that a spec can be read anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from vertical_assets.spec.automation import Automate
from vertical_assets.spec.compute import Privacy, Processes, Range, Search
from vertical_assets.spec.corpus import (
    Clean,
    Dedup,
    Deidentify,
    Dictionary,
    Rules,
    Source,
    SpotCheck,
)
from vertical_assets.spec.evaluation import Evaluate
from vertical_assets.spec.features import THESAURI, Features
from vertical_assets.spec.generation import Generate, Instruct, Lora, Pairs
from vertical_assets.spec.kinds import (
    FOR_DECODERS,
    FOR_ENCODERS,
    OF_ANSWERS,
    SURVIVES_TRANSLATION,
    UNSURE,
    WEIGHED,
)
from vertical_assets.spec.labels import (
    Agreement,
    Annotation,
    Level,
    Simulate,
    Split,
    Task,
    TaskKind,
)
from vertical_assets.spec.modules import FEATURES, check_fit
from vertical_assets.spec.release import Promote, Quantize
from vertical_assets.spec.section import Name, Strict
from vertical_assets.spec.tasks import Review, Rule, Tasks
from vertical_assets.spec.training import Finetune, Model, Pretrain, WarmStart

__all__ = [
    "Agreement",
    "Annotation",
    "Automate",
    "Clean",
    "Dedup",
    "Deidentify",
    "Evaluate",
    "Features",
    "Finetune",
    "Generate",
    "Instruct",
    "Level",
    "Lora",
    "Model",
    "Pairs",
    "Pretrain",
    "Privacy",
    "Processes",
    "Promote",
    "Quantize",
    "Range",
    "Review",
    "Rule",
    "Rules",
    "Search",
    "Simulate",
    "Source",
    "Split",
    "SpotCheck",
    "Task",
    "TaskKind",
    "Tasks",
    "VerticalSpec",
    "WarmStart",
]


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
    features: Features = Features()
    model: Model
    pretrain: Pretrain = Pretrain()
    finetune: Finetune = Finetune()
    processes: Processes = Processes()
    search: Search | None = None
    instruct: Instruct = Instruct()
    generate: Generate = Generate()
    evaluate: Evaluate = Evaluate()
    automate: Automate = Automate()
    quantize: Quantize = Quantize()
    promote: Promote = Promote()

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
        for section in ("pretrain", "finetune"):
            frozen = getattr(self, section).freeze_layers
            if layers and frozen > len(layers):
                raise ValueError(
                    f"{section}.freeze_layers ({frozen}) is more than the {len(layers)} layers "
                    "that model.layers keeps; lower it"
                )
        return self

    @model_validator(mode="after")
    def _noise_has_a_scale(self) -> Self:
        simulated = self.annotation.simulate is not None
        if simulated and self.task.kind == "regression" and self.task.range is None:
            raise ValueError(
                "annotation.simulate: simulated numbers err by a share of their range; add "
                "'task.range: [low, high]'"
            )
        return self

    @model_validator(mode="after")
    def _privacy_is_counted(self) -> Self:
        if self.finetune.privacy is None:
            return self
        if self.task.kind != "classification":
            raise ValueError(
                f"finetune.privacy trains classifiers; task.kind is {self.task.kind!r}, remove it"
            )
        for section, there, why in (
            ("model.cascade", self.model.cascade, "its first stage learns without noise"),
            ("features.augment", self.features.augment, "an item's rows would count as one"),
        ):
            if there:
                raise ValueError(
                    f"{section} reveals more than finetune.privacy counts: {why}; remove one of "
                    "the two"
                )
        if self.processes.batches_per_step > 1 or self.processes.gradient_checkpointing:
            raise ValueError(
                "finetune.privacy trains in one process without accumulation or "
                "gradient_checkpointing; remove these from 'processes'"
            )
        return self

    @model_validator(mode="after")
    def _generation_is_whole(self) -> Self:
        """A generation vertical has a decoder and pairs; what does not fit it must not be said."""
        generation = self.task.kind == "generation"
        if generation != (self.model.architecture == "gpt"):
            raise ValueError(
                "model.architecture 'gpt' and task.kind 'generation' belong together "
                f"(here {self.model.architecture!r} and {self.task.kind!r}); correct one of them"
            )
        if generation != (self.annotation.pairs is not None):
            raise ValueError(
                "annotation.pairs and task.kind 'generation' belong together; "
                + ("add annotation.pairs" if generation else "use annotation.path or simulate")
            )
        for key in ("tasks", "review"):
            if generation and key in self.annotation.model_fields_set:
                raise ValueError(
                    f"annotation.{key} is about labels, and pairs have none; remove it"
                )
        if self.evaluate.instruction is not None and not generation:
            raise ValueError(
                "evaluate.instruction puts tasks to a decoder, and task.kind is "
                f"{self.task.kind!r}; remove it"
            )
        if generation and self.generate.max_new_tokens >= self.model.max_tokens:
            raise ValueError(
                f"generate.max_new_tokens ({self.generate.max_new_tokens}) leaves no room for a "
                f"prompt in model.max_tokens ({self.model.max_tokens}); lower the first"
            )
        for key in FOR_ENCODERS if generation else FOR_DECODERS:
            if self.says(key):
                raise ValueError(
                    f"{key} means nothing to model.architecture {self.model.architecture!r}; "
                    "remove it"
                )
        if generation and (len(self.task.question_types) > 0) != (
            self.annotation.pairs is not None and self.annotation.pairs.question_type is not None
        ):
            raise ValueError(
                "task.question_types and annotation.pairs.question_type belong together; "
                "add the missing one"
            )
        return self

    @model_validator(mode="after")
    def _tasks_fit_the_standard(self) -> Self:
        kind, tasks = self.task.kind, self.annotation.tasks
        given = "strategies" in tasks.model_fields_set
        if kind in UNSURE and given and tasks.strategies.get("uncertainty"):
            raise ValueError(
                f"annotation.tasks.strategies: {UNSURE[kind]}, so nothing is uncertain; leave "
                "'uncertainty' out"
            )
        if tasks.uncertainty != "least_confidence" and kind != "classification":
            raise ValueError(
                f"annotation.tasks.uncertainty {tasks.uncertainty!r} is of classification; use "
                "'least_confidence'"
            )
        for number, rule in enumerate(tasks.rules):
            if rule.label is None:
                continue
            if kind in UNSURE:
                raise ValueError(
                    f"annotation.tasks.rules.{number}: rules do not pre-label a {kind} task; "
                    "remove 'label' (a rule with 'expert: true' may stay)"
                )
            if rule.label not in self.labels:
                raise ValueError(
                    f"annotation.tasks.rules.{number}: {rule.label!r} is no label of task "
                    f"{self.task.name!r}; correct it or add it under task.labels"
                )
        return self

    @model_validator(mode="after")
    def _labels_are_cross_checked(self) -> Self:
        studio, asked = self.annotation.label_studio, self.agreement.overlap
        if studio is not None and studio.overlap < asked:
            raise ValueError(
                f"annotation.label_studio.overlap ({studio.overlap:g}) is less than "
                f"agreement.overlap ({asked:g}), which every batch has to reach; raise the first"
            )
        return self

    @model_validator(mode="after")
    def _keywords_are_known(self) -> Self:
        keywords = self.model.keywords
        if keywords and not (keywords.dictionaries or self.clean.dictionaries):
            raise ValueError(
                "model.keyword_attention has no terms; list dictionaries under "
                "'clean.dictionaries' or 'model.keyword_attention.dictionaries'"
            )
        if keywords and self.pretrain.packing:
            raise ValueError(
                "pretrain.packing lays documents end to end without the mask that tells "
                "model.keyword_attention its terms; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _texts_can_be_augmented(self) -> Self:
        augment = self.features.augment
        if augment is None:
            return self
        synonyms = augment.synonyms
        if synonyms and synonyms.thesaurus is None and self.language not in THESAURI:
            raise ValueError(
                f"features.augment.synonyms has no thesaurus of its own for {self.language!r}; "
                "name one under 'thesaurus', or leave 'synonyms' out"
            )
        if augment.back_translation and self.task.kind not in SURVIVES_TRANSLATION:
            raise ValueError(
                f"features.augment.back_translation rewrites the text, and the spans of a task of "
                f"kind {self.task.kind!r} would point nowhere; leave it out (synonyms, swap and "
                "delete keep spans)"
            )
        return self

    @model_validator(mode="after")
    def _searched_keys_exist(self) -> Self:
        if self.search and self.finetune.privacy is not None:
            raise ValueError(
                "search would look in every trial at the items that finetune.privacy protects; "
                "remove one of the two"
            )
        for name, tried in (self.search.parameters if self.search else {}).items():
            key = name.removeprefix("finetune.")
            if key not in Finetune.model_fields:
                raise ValueError(
                    f"search.parameters: finetune has no key {key!r}; correct its name"
                )
            ends = tried.choices or (tried.low, tried.high)
            for value in ends:
                Finetune.model_validate({**self.finetune.model_dump(), key: value})
        return self

    @model_validator(mode="after")
    def _modules_fit_the_task(self) -> Self:
        kind = self.task.kind
        if kind == "generation":
            return self
        check_fit(kind, self.model.modules_of(kind), self.model.fusion, self.model.cascade)
        for module in self.model.modules_of(kind):
            if module.type in FEATURES and getattr(self.features, module.type) is None:
                raise ValueError(
                    f"model.modules reads {module.type!r}; add 'features.{module.type}: {{}}'"
                )
        if self.finetune.class_weights != "none" and kind not in WEIGHED:
            raise ValueError(
                f"finetune.class_weights is for {' and '.join(WEIGHED)}, the task is {kind}; "
                "remove finetune.class_weights"
            )
        if self.finetune.privacy is not None and not self.model.is_plain(kind):
            raise ValueError(
                "finetune.privacy serves classification by transformers' own head only, of whose "
                "layers it knows each item's gradient; remove it, or the modules of 'model.modules'"
            )
        return self

    @model_validator(mode="after")
    def _numbers_have_other_gates(self) -> Self:
        if self.task.kind != "regression":
            return self
        named = [f"promote.gates: {gate}" for gate in self.promote.gates if gate in OF_ANSWERS]
        named += [key for key in ("evaluate.f1", "quantize.agreement") if self.says(key)]
        if named:
            raise ValueError(
                f"{named[0]} is about answers that are equal or not; a regression is judged by its "
                "error, remove it"
            )
        return self

    @model_validator(mode="after")
    def _forms_can_be_written(self) -> Self:
        forms = [form for form in self.quantize.forms if form != "openvino"]
        modules = () if self.task.kind == "generation" else self.model.modules_of(self.task.kind)
        recurrent = [each.type for each in modules if each.type.startswith("bilstm")]
        if forms and recurrent:
            raise ValueError(
                f"quantize.forms: {forms[0]}: torch can't write {recurrent[0]!r} of model.modules "
                "as ONNX; leave 'openvino' only, or take another module"
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

    def says(self, key: str) -> bool:
        """Whether a section with defaults, or `section.key` of one, says something else."""
        section, _, name = key.partition(".")
        value, default = getattr(self, section), type(self).model_fields[section].default
        return bool(getattr(value, name) != getattr(default, name) if name else value != default)

    @property
    def spaced(self) -> bool:
        """Whether the language has spaces between words."""
        return self.language not in ("zh", "ja", "th")

    @property
    def dedup_ngram(self) -> int:
        by_word = self.spaced if self.dedup.unit == "script" else self.dedup.unit == "word"
        return self.dedup.ngram or (2 if by_word else 3)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names or span types in the order of their ids; none for regression."""
        return self.task.answers

    @property
    def dictionaries(self) -> tuple[Dictionary, ...]:
        """Files of terms and names that the corpus is cleaned by, or that the model attends to."""
        keywords = self.model.keywords
        own = keywords.dictionaries if keywords else ()
        return (*self.clean.dictionaries, *self.deidentify.names, *own)

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
