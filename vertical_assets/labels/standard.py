"""The label standard: what a row of people's labels says, or which rule it breaks (SPEC D6).

| task.kind | a row has |
|---|---|
| classification | `label` |
| multi_label | `labels`, a list, which may be empty |
| entities | `spans`, a list of `start`, `end`, `label`, or one of them in the row itself |
| question_answering | `question`, and its answers as `spans`; none where the text has no answer |
| regression | `value` |
"""

import contextlib
import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from vertical_assets.labels.anchoring import BreachError, ItemText, place
from vertical_assets.labels.targets import Span, Target, overlapping
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import ANSWER, Label

SPAN_FIELDS = ("start", "end", "quote")
NAMES_SHOWN = 12  # of the labels that there are


def read_target(values: Mapping[str, Any], item: ItemText | None, spec: VerticalSpec) -> Target:
    """What a row says about its item.

    Args:
        values: the row.
        item: text of the item, where the task's targets are spans.
        spec: sections `task`, `clean`.

    Raises:
        BreachError: the row breaks the standard.
    """
    kind = spec.task.kind
    if kind == "classification":
        return _known(values.get("label"), spec, "label")
    if kind == "multi_label":
        said = {_known(each, spec, "labels") for each in _listed(values, "labels")}
        return tuple(label for label in spec.labels if label in said)
    if kind == "regression":
        return _number(values, spec)
    assert item is not None
    spans = [_span(each, item, spec) for each in _spans(values)]
    clash = overlapping(spans)
    if clash is not None:
        raise BreachError("overlapping_spans", "spans", overlap_reason(*clash))
    return tuple(sorted(spans))


def written(value: Any) -> Any:
    """A label or a name as text: whole numbers too, which files may hold as numbers."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def is_of_task(values: Mapping[str, Any], spec: VerticalSpec) -> bool:
    """Whether a row is of this task; one that names none is."""
    return values.get("task") in (None, "", spec.task.name)


def check_task(values: Mapping[str, Any], spec: VerticalSpec) -> None:
    """Raises BreachError where a row is of another task: its answer may be a label here as well."""
    if not is_of_task(values, spec):
        raise BreachError(
            "other_task",
            "task",
            f"{values['task']!r} is another task than {spec.task.name!r}, the one of "
            f"{spec.name}; its rows belong to a vertical of their own",
        )


def is_one_span(values: Mapping[str, Any]) -> bool:
    """Whether a row is one span of a judgement that further rows may belong to."""
    return values.get("spans") in (None, "") and any(
        values.get(name) not in (None, "") for name in SPAN_FIELDS
    )


def overlap_reason(left: Span, right: Span) -> str:
    return (
        f"{left.label} {left.start}-{left.end} and {right.label} {right.start}-{right.end} share "
        "characters; keep one"
    )


def read_question(values: Mapping[str, Any], spec: VerticalSpec) -> tuple[str, str | None]:
    """The question that a row answers, and its type where the standard has types.

    Raises:
        BreachError: there is no question, or its type is none of `task.question_types`.
    """
    question = str(values.get("question") or "").strip()
    if not question:
        raise BreachError("missing_question", "question", "'question' is empty")
    if not spec.task.question_types:
        return question, None
    said = values.get("question_type")
    if said not in spec.task.question_types:
        raise BreachError(
            "unknown_question_type",
            "question_type",
            f"{said!r} is no question type of task {spec.task.name!r}; "
            + _lines(said, spec.task.questions, "task.question_types"),
        )
    return question, str(said)


def _known(label: Any, spec: VerticalSpec, field: str) -> str:
    label = written(label)
    if not isinstance(label, str) or label not in spec.labels:
        raise BreachError(
            "unknown_label",
            field,
            f"{label!r} is no label of task {spec.task.name!r}; "
            + _lines(label, spec.task.definitions, "task.labels"),
        )
    return label


def _lines(said: Any, meanings: Mapping[str, Label], where: str) -> str:
    """The standard's line that was perhaps meant, or else what there is."""
    near = {name.casefold(): name for name in meanings}
    for match in get_close_matches(str(said).strip().casefold(), near, n=1):
        return f"meant is perhaps '{near[match]}: {meanings[near[match]].definition}' ({where})"
    names = list(meanings)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"there are: {', '.join(names[:NAMES_SHOWN])}{more} ({where})"


def _listed(values: Mapping[str, Any], name: str) -> list[Any]:
    """A list, or its JSON, which is what a CSV file can hold."""
    value = values.get(name)
    if isinstance(value, str):
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(value)
    if not isinstance(value, list):
        raise BreachError(
            f"missing_{name}", name, f"'{name}' is {value!r}, no list; an empty list says: none"
        )
    return value


def _spans(values: Mapping[str, Any]) -> list[Any]:
    return [values] if is_one_span(values) else _listed(values, "spans")


def _span(given: Any, item: ItemText, spec: VerticalSpec) -> Span:
    if not isinstance(given, Mapping):
        raise BreachError("missing_place", "spans", f"{given!r} is no span with 'start' and 'end'")
    if spec.task.kind == "question_answering":
        label = ANSWER
    else:
        label = _known(given.get("label"), spec, "label")
    return Span(*place(given, item, spec.clean), label)


def _number(values: Mapping[str, Any], spec: VerticalSpec) -> float:
    value = values.get("value")
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BreachError("no_number", "value", f"{value!r} is no number")
    if spec.task.range is not None:
        low, high = spec.task.range
        if not low <= number <= high:
            raise BreachError(
                "out_of_range", "value", f"{number:g} is not in {low:g} to {high:g} (task.range)"
            )
    return number
