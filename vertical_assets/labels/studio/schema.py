"""JSON Schema of a row in a file of labels, from the label standard (SPEC D6)."""

from collections.abc import Mapping
from typing import Any

from vertical_assets.labels.targets import COLUMN
from vertical_assets.labels.votes import ANNOTATOR_KINDS
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import Label

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(spec: VerticalSpec) -> dict[str, Any]:
    """Schema (draft 2020-12) of one line of a JSON-lines file.

    What a schema can't say is left to the reader: whether an item exists, whether spans lie in its
    text and apart.

    Args:
        spec: section `task`, of any kind but generation.
    """
    task = spec.task
    column = COLUMN[task.kind]
    said: dict[str, Any] = {"required": [column]}
    if task.has_spans:
        one: dict[str, Any] = {"anyOf": [{"required": ["start", "end"]}, {"required": ["quote"]}]}
        if task.kind == "entities":
            one["required"] = ["label"]
        said = {"anyOf": [said, one]}
    properties: dict[str, Any] = {
        "item_id": {"type": "string", "description": "The document's doc_id."},
        "source": {"type": "string", "description": "With `id`, instead of `item_id`."},
        "id": {"type": ["string", "integer"], "description": "As the source has it."},
        "annotator_id": {
            "type": ["string", "integer"],
            "minLength": 1,
            "description": "Who says it.",
        },
        "annotator_kind": {"enum": list(ANNOTATOR_KINDS)},
        "task": {"const": task.name, "description": "Rows of other tasks are set aside."},
        "created_at": {"type": ["string", "null"], "format": "date-time"},
        "lead_time_s": {"type": ["number", "null"], "minimum": 0, "description": "Seconds."},
        **_target(spec),
    }
    required = ["annotator_id"]
    if task.kind == "question_answering":
        properties["question"] = {"type": "string", "minLength": 1}
        required.append("question")
        if task.questions:
            properties["question_type"] = _one_of(task.questions)
            required.append("question_type")
    return {
        "$schema": DRAFT,
        "title": f"What one annotator says of one item: {spec.name}, {task.name}",
        "type": "object",
        "properties": properties,
        "required": required,
        "allOf": [{"anyOf": [{"required": ["item_id"]}, {"required": ["source", "id"]}]}, said],
    }


def _target(spec: VerticalSpec) -> dict[str, Any]:
    task = spec.task
    if task.kind == "classification":
        return {"label": _one_of(task.definitions)}
    if task.kind == "multi_label":
        return {"labels": {"type": "array", "items": _one_of(task.definitions)}}
    if task.kind == "regression":
        low, high = task.range or (None, None)
        bounds = {n: v for n, v in (("minimum", low), ("maximum", high)) if v is not None}
        return {"value": {"type": "number", **bounds}}
    span: dict[str, Any] = {
        "start": {"type": "integer", "minimum": 0, "description": "First character, from 0."},
        "end": {"type": "integer", "minimum": 1, "description": "After the last character."},
        "quote": {"type": "string", "description": "What the span covers."},
        "prefix": {"type": "string", "description": "What stands before it."},
        "suffix": {"type": "string", "description": "What stands after it."},
    }
    required: dict[str, Any] = {}
    if task.kind == "entities":
        span["label"] = _one_of(task.definitions)
        required["required"] = ["label"]
    items = {
        "type": "object",
        "properties": span,
        **required,
        "anyOf": [{"required": ["start", "end"]}, {"required": ["quote"]}],
    }
    return {"spans": {"type": "array", "items": items}, **span}


def _one_of(meanings: Mapping[str, Label]) -> dict[str, Any]:
    described = "\n".join(f"{name}: {said.definition}" for name, said in meanings.items())
    return {"enum": list(meanings), "description": described}
