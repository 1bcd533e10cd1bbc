"""Interfaces: what goes into a module and what comes out, as pydantic models (SPEC M9).

Their JSON Schemas stand in a checkpoint's `interface.json`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vertical_assets.inference.answers import Answer


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextInput(_Message):
    """A text."""

    text: str


class QuestionInput(_Message):
    """A question on a text."""

    question: str
    text: str


class LabelOutput(_Message):
    """One label of the class system."""

    label: str
    confidence: float = Field(ge=0, le=1)


class LabelsOutput(_Message):
    """All labels that hold; may be none."""

    labels: list[str]
    confidence: float = Field(ge=0, le=1)


class SpanOutput(_Message):
    """Characters of the text, end exclusive, and what they are."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    label: str
    confidence: float = Field(ge=0, le=1)


class SpansOutput(_Message):
    """Spans by place; may be none."""

    spans: list[SpanOutput]
    confidence: float = Field(ge=0, le=1)


class ValueOutput(_Message):
    """A number."""

    value: float


class VectorOutput(_Message):
    """What a module hands to the fusion."""

    vector: list[float]


INPUTS: dict[str, type[BaseModel]] = {"question_answering": QuestionInput}  # others: TextInput
OUTPUTS: dict[str, type[BaseModel]] = {
    "classification": LabelOutput,
    "multi_label": LabelsOutput,
    "entities": SpansOutput,
    "question_answering": SpansOutput,
    "regression": ValueOutput,
}


def message(kind: str, answer: Answer) -> BaseModel:
    """An answer as the output of its kind."""
    target: Any = answer.target  # its form goes with the kind
    confidence = answer.confidence
    if kind == "classification":
        return LabelOutput(label=str(target), confidence=confidence or 0.0)
    if kind == "multi_label":
        return LabelsOutput.model_validate({"labels": list(target), "confidence": confidence})
    if kind == "regression":
        return ValueOutput.model_validate({"value": target})
    spans = [
        {"start": span.start, "end": span.end, "label": span.label, "confidence": share}
        for span, share in zip(target, answer.spans, strict=True)
    ]
    return SpansOutput.model_validate({"spans": spans, "confidence": confidence})
