"""Spec of labels: standard, annotators, agreement and splits (SPEC D6-D8)."""

from fnmatch import fnmatch
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from vertical_assets.spec.generation import Pairs
from vertical_assets.spec.section import Fraction, Name, Positive, Strict
from vertical_assets.spec.studio import PULLED, LabelStudio
from vertical_assets.spec.tasks import Review, Tasks

TaskKind = Literal[
    "classification", "multi_label", "entities", "question_answering", "regression", "generation"
]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
SIMULATED = "simulated"  # the batch of simulated annotators, and the kind of such annotators
ANSWER = "answer"  # the one type of span in question answering
SENTIMENT = "sentiment"  # short for a classification by polarity
POLARITIES = {
    "negative": "The text expresses dissatisfaction or disapproval.",
    "neutral": "The text states facts, or praise and blame balance.",
    "positive": "The text expresses satisfaction or approval.",
}


class Label(Strict):
    """What a label means, where one line does not say it."""

    definition: str
    examples: tuple[str, ...] = Field(default=(), description="Texts, or parts, that have it.")


class QuestionType(Label):
    """What questions of a type ask for, and how they are answered."""

    answer: str | None = Field(
        default=None, description="Format of the answer, e.g. 'one sentence', 'numbered steps'."
    )


class Task(Strict):
    """A label standard (SPEC D6): what is asked of a text, and what may be answered.

    | kind | of every text | `labels` are |
    |---|---|---|
    | classification | its class | the classes |
    | multi_label | all labels that hold, maybe none | the labels |
    | entities | its spans and their types | the types |
    | question_answering | the spans that answer a question | none; see `question_types` |
    | regression | a number | none; see `range` |
    | generation | none: its text is the answer to a prompt | none; see `question_types` |

    Kind `sentiment` is short for classification; without `labels` by POLARITIES.
    """

    name: Name
    kind: TaskKind = Field(
        default="classification", json_schema_extra={"enum": [*get_args(TaskKind), SENTIMENT]}
    )
    labels: dict[str, str | Label] = Field(
        default={}, description="Label -> its definition, or its definition and examples."
    )
    question_types: dict[str, str | QuestionType] = Field(
        default={},
        description="Question answering, generation: type of question -> its definition, or "
        "definition, examples and answer format (definition, steps, comparison; D6). Where there "
        "are any, every question has one.",
    )
    # Dagster's reader of components knows no tuples of fixed length.
    range: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Regression: least and greatest value; none for no bounds."
    )
    tolerance: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Regression: annotators this close to the median agree with it. Default: a "
        "tenth of `range`, or of the spread of all values.",
    )

    level: Level | None = Field(
        default=None,
        description="Level of measurement (Stevens 1946) at which annotators agree (D8). "
        "Classification: nominal (the default), ordinal by the order of `labels`, interval or "
        "ratio where the labels are numbers. Regression: ordinal, interval (the default) or ratio.",
    )
    aggregation: Literal["majority", "dawid_skene", "mace"] = Field(
        default="majority",
        description="What several annotators' labels come to (D8). Classification: the most votes, "
        "or the likeliest label by how reliable each annotator is: Dawid and Skene 1979, MACE "
        "(Hovy et al. 2013).",
    )
    min_confidence: Fraction | None = Field(
        default=None,
        description="Items whose gold is less sure than this are disputed. Default: only those on "
        "which the annotators are split.",
    )

    @model_validator(mode="before")
    @classmethod
    def _sentiment_is_classification(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == SENTIMENT:
            return {"labels": POLARITIES, **given, "kind": "classification"}
        return given

    @field_validator("range")
    @classmethod
    def _low_before_high(cls, bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(
                f"[{bounds[0]:g}, {bounds[1]:g}] holds no values; write 'range: [low, high]'"
            )
        return bounds

    @model_validator(mode="after")
    def _labels_fit_the_kind(self) -> Self:
        fewest = {"classification": 2, "multi_label": 1, "entities": 1}.get(self.kind)
        if fewest is None and self.labels:
            where = "range" if self.kind == "regression" else "question_types"
            raise ValueError(
                f"a {self.kind} task has no labels; remove 'task.labels' (see 'task.{where}')"
            )
        if fewest is not None and len(self.labels) < fewest:
            least = "two labels" if fewest == 2 else "one label"
            raise ValueError(
                f"a {self.kind} task needs at least {least}; "
                "list each as 'label: definition' under 'task.labels'"
            )
        owners = {
            "question_types": ("question_answering", "generation"),
            "range": ("regression",),
            "tolerance": ("regression",),
        }
        for field, kinds in owners.items():
            if getattr(self, field) and self.kind not in kinds:
                raise ValueError(
                    f"'task.{field}' belongs to kind {' or '.join(kinds)}, the task is "
                    f"{self.kind}; remove it"
                )
        if self.aggregation != "majority" and self.kind != "classification":
            raise ValueError(
                f"'task.aggregation: {self.aggregation}' belongs to kind classification, the task "
                f"is {self.kind}; remove it"
            )
        return self

    @model_validator(mode="after")
    def _level_fits_the_kind(self) -> Self:
        levels: dict[str, tuple[Level, ...]] = {
            "classification": ("nominal", "ordinal", "interval", "ratio"),
            "regression": ("ordinal", "interval", "ratio"),
        }
        allowed = levels.get(self.kind, ("nominal",))
        if self.level is not None and self.level not in allowed:
            raise ValueError(
                f"'task.level: {self.level}' can't serve a {self.kind} task; use "
                f"{' or '.join(allowed)}"
            )
        if self.level not in ("interval", "ratio"):
            return self
        lowest = 0.0 if self.range is None else self.range[0]
        if self.kind == "classification":
            try:
                lowest = min(float(label) for label in self.labels)
            except ValueError:
                raise ValueError(
                    f"'task.level: {self.level}' measures distances, but not every label is a "
                    "number; use ordinal, which goes by the order of 'task.labels'"
                ) from None
        if self.level == "ratio" and (
            lowest < 0 or (self.kind == "regression" and self.range is None)
        ):
            where = "labels" if self.kind == "classification" else "range"
            raise ValueError(
                "'task.level: ratio' needs a true zero and nothing below it; let 'task."
                f"{where}' start at 0 or above, or use interval"
            )
        return self

    @property
    def measured(self) -> Level:
        """Level of measurement; the kind's own where `level` is not set."""
        return self.level or ("interval" if self.kind == "regression" else "nominal")

    @property
    def definitions(self) -> dict[str, Label]:
        """What each label means."""
        return {
            name: Label(definition=said) if isinstance(said, str) else said
            for name, said in self.labels.items()
        }

    @property
    def questions(self) -> dict[str, QuestionType]:
        """What each type of question asks for."""
        return {
            name: QuestionType(definition=said) if isinstance(said, str) else said
            for name, said in self.question_types.items()
        }

    @property
    def has_spans(self) -> bool:
        """Whether targets are spans of the text."""
        return self.kind in ("entities", "question_answering")

    @property
    def answers(self) -> tuple[str, ...]:
        """What targets are made of: class names or span types, in the order of their ids."""
        return (ANSWER,) if self.kind == "question_answering" else tuple(self.labels)


class Simulate(Strict):
    """Simulated annotators: gold labels with a stated error rate, named `simulated` in every row.

    For demonstrations only, where no package ships several people's labels.
    """

    gold: str = Field(
        description="Entry of `meta` that holds what is right: a label, a list of labels, a list "
        "of spans, questions with their answers, or a number, by the task's kind."
    )
    annotators: Annotated[int, Field(ge=2)] = 3
    error_rate: Fraction = 0.03


class Annotation(Strict):
    """Who labels: people by files, simulated annotators, both; or the sources themselves."""

    path: str | None = Field(
        default="annotations/*",
        description="Files of people's labels, relative to `data/<vertical>/`; one file is one "
        "batch. null for none.",
    )
    simulate: Simulate | None = None
    pairs: Pairs | None = Field(default=None, description="Generation: prompts of the sources.")
    tasks: Tasks = Tasks()
    review: Review = Review()
    label_studio: LabelStudio | None = Field(
        default=None, description="A project on the Label Studio server where people label."
    )

    @model_validator(mode="after")
    def _pulled_batches_are_read(self) -> Self:
        path = (self.path or "").replace("**/", "")
        if self.label_studio and not any(fnmatch(PULLED, each) for each in (path, f"{path}/*")):
            raise ValueError(
                f"annotation.label_studio writes batches like {PULLED!r}, which annotation.path "
                f"({self.path!r}) leaves out; set 'path: annotations/*'"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _pairs_need_no_files(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("pairs") is not None:
            return {"path": None, **given}
        return given

    @model_validator(mode="after")
    def _some_origin(self) -> Self:
        people = [self.path, self.simulate]
        if self.pairs is not None and people != [None, None]:
            raise ValueError(
                "annotation.pairs (for generation) has the sources' own answers, which nobody "
                "labels; remove 'path' and 'simulate', or 'pairs'"
            )
        if [*people, self.pairs] == [None, None, None]:
            raise ValueError(
                "annotation has no labels: give 'path' (files of people's labels), 'simulate' "
                "(labels made from gold), both, or 'pairs' (for generation)"
            )
        return self

    @property
    def who(self) -> str:
        """Whose labels there are, for pages."""
        people = ["people"] if self.path is not None else []
        return " and ".join(
            [*people, *(["simulated annotators, not people"] if self.simulate else [])]
        )


class Agreement(Strict):
    """The gate between people's labels and training (SPEC D8)."""

    alpha: Annotated[float, Field(gt=-1.0, le=1.0)] = Field(
        default=0.85, description="Least Krippendorff's alpha (D8)."
    )
    bootstrap: Positive = Field(default=500, description="Rounds for the 95 % interval.")
    overlap: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.1,
        description="Least share of a batch's items that two annotators labelled (D8: 10 % are "
        "cross-checked); with less, alpha says nothing of the batch.",
    )
    decisions: str = Field(
        default="adjudication/decisions*",
        description="Files of people's decisions on disputed items, relative to "
        "`data/<vertical>/`.",
    )


class Split(Strict):
    """Which items are held out; decided by hash, so that an item never changes its split."""

    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1  # chooses the weights that are kept
    test: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2  # every release is judged by it
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
