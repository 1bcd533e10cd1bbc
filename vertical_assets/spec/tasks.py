"""Spec of what people are given to label, and of the monthly cross-check (SPEC D7, D8)."""

import math
import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vertical_assets.spec.corpus import Dictionary
from vertical_assets.spec.section import Fraction, Positive, Strict

Strategy = Literal["random", "uncertainty", "diversity", "relabel"]
Measure = Literal["least_confidence", "margin", "entropy"]


class Rule(Strict):
    """A rule that pre-labels, or that tells key items from others (D7).

    | task.kind | a match of `pattern` or of a term of `dictionary` says |
    |---|---|
    | classification, multi_label | the text has `label` |
    | entities | the matched characters are a `label` |
    | question_answering, regression | nothing; the item may be a key item |
    """

    pattern: str | None = Field(
        default=None, description="Regular expression (Python's), letter case aside."
    )
    dictionary: Dictionary | None = Field(default=None, description="A list of terms.")
    label: str | None = None
    expert: bool = Field(default=False, description="What it matches is for experts (D7).")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
            if compiled.match("") is not None:
                raise ValueError(f"{pattern!r} matches the empty text, hence every text; narrow it")
        return pattern

    @model_validator(mode="after")
    def _finds_and_says_something(self) -> Self:
        if (self.pattern is None) == (self.dictionary is None):
            raise ValueError("a rule needs exactly one of 'pattern' and 'dictionary'; keep one")
        if self.label is None and not self.expert:
            raise ValueError("a rule without 'label' says nothing; add it, or 'expert: true'")
        return self


class Experts(Strict):
    """Which items are key items, for experts (D7), besides those of rules with `expert: true`."""

    confidence: Fraction = Field(
        default=0.5,
        description="Items on which the released model is less sure than this; 0 for none.",
    )
    relabel: bool = Field(default=True, description="Items of the relabel queue.")


class Tasks(Strict):
    """What to label next, with pre-labels (D7)."""

    count: Positive = Field(default=200, description="Tasks at most.")
    pool: Positive = Field(
        default=2000,
        description="Documents without enough labels that are looked at, drawn by hash: what "
        "questions to the model and distances between documents cost is bounded by it.",
    )
    enough: Positive = Field(
        default=2, description="Annotators after whom an item is left alone: D8 compares two."
    )
    strategies: dict[Strategy, Fraction] = Field(
        default={"random": 0.25, "uncertainty": 0.25, "diversity": 0.25, "relabel": 0.25},
        description="Share of the tasks by how they are chosen. Places that a strategy can't "
        "fill, e.g. before there is a model, are drawn at random.",
    )
    uncertainty: Measure = Field(
        default="least_confidence",
        description="Settles 2009, section 3.1. Margin and entropy are of classification.",
    )
    experts: Experts = Experts()
    rules: tuple[Rule, ...] = ()

    @field_validator("strategies")
    @classmethod
    def _sum_to_one(cls, shares: dict[Strategy, float]) -> dict[Strategy, float]:
        if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
            raise ValueError(f"the shares sum to {sum(shares.values()):g}; make them sum to 1")
        return shares


class Review(Strict):
    """The monthly cross-check of labels by a second annotator (D8)."""

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="Of the items annotated in the month (D8)."
    )
    start: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = Field(
        default="2024-01", description="The first month, YYYY-MM."
    )
    bar: Annotated[float, Field(gt=-1.0, le=1.0)] | None = Field(
        default=None, description="Alpha below which an alert is raised; default agreement.alpha."
    )
