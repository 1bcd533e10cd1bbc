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
        return self

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
    """Who labels: files dropped by people, simulated annotators, or the sources themselves."""

    path: str | None = Field(
        default=None,
        description="JSON-lines files of annotations, relative to `data/<vertical>/`.",
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
        if self.label_studio is not None and not fnmatch(PULLED, self.path or ""):
            raise ValueError(
                f"annotation.label_studio writes batches like {PULLED!r}, which annotation.path "
                f"({self.path!r}) leaves out; set 'path: annotations/*'"
            )
        return self

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if [self.path, self.simulate, self.pairs].count(None) != 2:
            raise ValueError(
                "annotation needs exactly one of 'path' (files of people's labels), "
                "'simulate' (labels made from gold) and 'pairs' (for generation); keep one"
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
