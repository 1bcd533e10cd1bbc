"""Spec of labels: standard, annotators, agreement and splits (SPEC D6-D8)."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vertical_assets.spec.section import Fraction, Name, Positive, Strict


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
