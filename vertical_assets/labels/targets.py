"""Targets: what a gold label is, by the kind of its task (SPEC D6).

| task.kind | target of an item |
|---|---|
| classification | its label |
| multi_label | its labels, in the standard's order; may be none |
| entities | its spans, by place |
| question_answering | the spans that answer its question, by place; none where nothing does |
| regression | its value |
"""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text, and what they are."""

    start: int
    end: int
    label: str


Target = str | float | tuple[str, ...] | tuple[Span, ...]
