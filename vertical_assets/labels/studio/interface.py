"""The labelling interface of a label standard: Label Studio's configuration, XML (SPEC D6).

The control of the target is named `label`, its object `text`; predictions and results say so.
"""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from vertical_assets.labels.studio.results import QUESTION_TYPE, REASON
from vertical_assets.labels.tasks.exports import FROM_NAME, TO_NAME
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import ANSWER, Label

INLINE = 5  # choices that stand side by side
HOTKEYS = "123456789"


def labeling_config(spec: VerticalSpec, *, adjudication: bool = False) -> str:
    """XML of the interface.

    Args:
        spec: section `task`, of any kind but generation.
        adjudication: shows what annotators said, and asks for a reason.
    """
    task = spec.task
    view = ET.Element("View")
    if task.kind == "question_answering":
        ET.SubElement(view, "Header", value="$question")
    if adjudication:
        ET.SubElement(view, "Header", value="$votes", size="5")
    text = {"name": TO_NAME, "value": "$text"}
    if task.has_spans:
        labels = ET.SubElement(view, "Labels", name=FROM_NAME, toName=TO_NAME)
        _values(labels, "Label", task.definitions or {ANSWER: Label(definition="The answer.")})
        ET.SubElement(view, "Text", text)
    elif task.kind == "regression":
        low, high = task.range or (None, None)
        bounds = {name: f"{v:g}" for name, v in (("min", low), ("max", high)) if v is not None}
        ET.SubElement(view, "Text", text)
        asked = {"name": FROM_NAME, "toName": TO_NAME, "required": "true"}
        ET.SubElement(view, "Number", asked | bounds)
    else:
        several = task.kind == "multi_label"  # maybe none
        how = {"choice": "multiple"} if several else {"choice": "single", "required": "true"}
        ET.SubElement(view, "Text", text)
        _choices(view, FROM_NAME, task.definitions, how)
    if task.kind == "question_answering" and task.questions:
        how = {"choice": "single", "required": "true"}
        _choices(view, QUESTION_TYPE, task.questions, how, hotkeys="")
    if adjudication:
        asked = {"name": REASON, "toName": TO_NAME, "required": "true", "rows": "2"}
        ET.SubElement(view, "TextArea", asked | {"placeholder": "Reason of the decision"})
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _choices(
    view: ET.Element,
    name: str,
    meanings: Mapping[str, Label],
    how: dict[str, str],
    hotkeys: str = HOTKEYS,
) -> None:
    inline = "true" if len(meanings) <= INLINE else "false"
    values = {"name": name, "toName": TO_NAME, "showInline": inline}
    _values(ET.SubElement(view, "Choices", values | how), "Choice", meanings, hotkeys)


def _values(
    parent: ET.Element, tag: str, meanings: Mapping[str, Label], hotkeys: str = HOTKEYS
) -> None:
    for at, (name, meaning) in enumerate(meanings.items()):
        key = {"hotkey": hotkeys[at]} if at < len(hotkeys) else {}
        ET.SubElement(parent, tag, {"value": name, "hint": _hint(meaning)} | key)


def _hint(meaning: Label) -> str:
    examples = "; ".join(meaning.examples)
    return f"{meaning.definition} E.g. {examples}" if examples else meaning.definition
