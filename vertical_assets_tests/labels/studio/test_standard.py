"""The label standard as people and tools get it: guideline, interface, JSON Schema."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import dagster as dg
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vertical_assets.labels.anchoring import BreachError, ItemText
from vertical_assets.labels.standard import read_question, read_target
from vertical_assets.labels.studio.assets import build_label_standard
from vertical_assets.labels.studio.guideline import as_html, guideline
from vertical_assets.labels.studio.interface import labeling_config
from vertical_assets.labels.studio.schema import json_schema
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import POLARITIES, Task
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.versions import current, store_root
from vertical_assets_tests.conftest import tiny

LABELS = {
    "fever": "A temperature above 38 degrees.",
    "cough": {"definition": "Coughing, dry or not.", "examples": ["coughs at night", 'a "tickle"']},
}
QUESTIONS = {
    "definition": "What something is.",
    "steps": {"definition": "How something is done.", "answer": "numbered steps"},
}
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"labels": LABELS},
    "multi_label": {"labels": LABELS},
    "entities": {"labels": LABELS},
    "question_answering": {"question_types": QUESTIONS},
    "regression": {"range": [0, 10]},
}
TEXT = "Coughs at night and has a fever of 39 degrees."


def spec_of(kind: str) -> VerticalSpec:
    task = {"name": "symptoms", "kind": kind, **TASKS[kind]}
    return VerticalSpec(**tiny(task=task, annotation={"path": "annotations/*"}, language="en"))


@pytest.mark.parametrize("kind", TASKS)
def test_the_guideline_says_what_is_asked_of_every_label_and_the_bar(kind: str) -> None:
    text = guideline(spec_of(kind))
    assert text.startswith("# How to label: symptoms\n")
    assert "0.85" in text
    assert ("overlap" in text) == spec_of(kind).task.has_spans
    if "labels" in TASKS[kind]:
        assert "- **fever**: A temperature above 38 degrees.\n" in text
        assert "  - Example: coughs at night\n" in text
    if kind == "question_answering":
        assert "  - Answer: numbered steps" in text
    page = as_html(text)
    assert page.startswith("<h1>How to label: symptoms</h1>")
    assert "**" not in page


def test_the_guideline_is_no_way_into_a_page() -> None:
    assert "<script>" not in as_html("- <script>alert(1)</script>\n")


def test_the_guideline_of_labels_in_order_says_so() -> None:
    task = {"name": "size", "labels": {"small": "S.", "large": "L."}, "level": "ordinal"}
    spec = VerticalSpec(**tiny(task=task, annotation={}))
    assert "- The labels are in order: small < large." in guideline(spec)


@pytest.mark.parametrize("kind", TASKS)
def test_the_interface_has_a_control_for_every_part_of_the_answer(kind: str) -> None:
    view = ET.fromstring(labeling_config(spec_of(kind), adjudication=True))
    controls = {each.get("name"): each.tag for each in view if each.get("toName")}
    tag = {"entities": "Labels", "question_answering": "Labels", "regression": "Number"}
    assert controls.pop("label") == tag.get(kind, "Choices")
    asks = {"question_type": "Choices"} if kind == "question_answering" else {}
    assert controls == {"reason": "TextArea", **asks}
    assert view.find("Text[@name='text'][@value='$text']") is not None
    values = [each.get("value") for each in view.iterfind("*[@name='label']/*")]
    assert values == list(spec_of(kind).labels)
    if kind == "classification":
        hint = view.find(".//Choice[@value='cough']")
        assert hint is not None
        assert hint.get("hint") == 'Coughing, dry or not. E.g. coughs at night; a "tickle"'
        assert view.find("Choices[@name='label']").attrib["choice"] == "single"  # type: ignore[union-attr]
    if kind == "regression":
        assert view.find("Number").attrib["max"] == "10"  # type: ignore[union-attr]


ROWS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "classification": st.fixed_dictionaries(
        {"label": st.sampled_from(["fever", "cough", "Fever", "", None, 1, ["fever"]])}
    ),
    "multi_label": st.fixed_dictionaries(
        {"labels": st.one_of(st.lists(st.sampled_from(["fever", "cough", "x"])), st.none())}
    ),
    "regression": st.fixed_dictionaries(
        {"value": st.one_of(st.floats(-1, 11, allow_nan=False), st.none(), st.booleans())}
    ),
    "entities": st.fixed_dictionaries(
        {
            "spans": st.lists(
                st.fixed_dictionaries(
                    {"label": st.sampled_from(["fever", "x"])},
                    optional={
                        "start": st.just(0),
                        "end": st.just(6),
                        "quote": st.just("fever"),
                    },
                ),
                max_size=1,
            )
        }
    ),
    "question_answering": st.fixed_dictionaries(
        {
            "question": st.sampled_from(["", "What is it?"]),
            "question_type": st.sampled_from(["steps", "why", None]),
            "spans": st.just([]),
        }
    ),
}


@pytest.mark.parametrize("kind", TASKS)
def test_the_schema_takes_the_rows_that_the_reader_takes(kind: str) -> None:
    spec, validator = spec_of(kind), jsonschema.Draft202012Validator(json_schema(spec_of(kind)))
    validator.check_schema(json_schema(spec))

    @given(ROWS[kind])
    def check(row: dict[str, Any]) -> None:
        try:
            read_target(row, ItemText(TEXT), spec)
            if kind == "question_answering":
                read_question(row, spec)
            reads = True
        except BreachError as breach:
            # A span's place in the text is the reader's alone.
            reads = breach.rule in ("outside_text", "quote_not_found")
        assert validator.is_valid({"item_id": "d", "annotator_id": "ann", **row}) == reads

    check()


def test_the_schema_asks_who_and_of_what() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(spec_of("classification")))
    row = {"source": "shop", "id": 7, "annotator_id": "ann", "label": "fever"}
    assert validator.is_valid(row)
    for missing in ("source", "id", "annotator_id", "label"):
        assert not validator.is_valid({k: v for k, v in row.items() if k != missing})


def test_a_wrong_label_is_shown_the_standards_line() -> None:
    def said(kind: str, row: dict[str, Any]) -> str:
        with pytest.raises(BreachError) as breach:
            read_target(row, ItemText(TEXT), spec_of(kind))
        return str(breach.value)

    near = said("classification", {"label": "Feever"})
    assert near.endswith("'fever: A temperature above 38 degrees.' (task.labels)")
    assert said("classification", {"label": "x"}).endswith("there are: fever, cough (task.labels)")
    with pytest.raises(BreachError, match="'steps: How something is done"):
        read_question({"question": "How?", "question_type": "step"}, spec_of("question_answering"))


def test_sentiment_is_a_classification_by_polarity() -> None:
    plain = Task(name="mood", kind="sentiment")
    assert (plain.kind, plain.labels) == ("classification", POLARITIES)
    own = Task(name="mood", kind="sentiment", labels={"bad": "Bad.", "good": "Good."})
    assert own.answers == ("bad", "good")
    kinds = Task.model_json_schema()["properties"]["kind"]["enum"]
    assert "sentiment" in kinds  # for `dg check yaml` and editors


def test_pulled_batches_must_be_read() -> None:
    with pytest.raises(ValidationError, match="set 'path: annotations/\\*'"):
        VerticalSpec(**tiny(annotation={"path": "labels/*", "label_studio": {}}))


def test_titles_that_the_server_would_refuse_are_refused_when_the_file_is_read() -> None:
    with pytest.raises(ValidationError, match="shorten 'project' or set 'adjudication'"):
        VerticalSpec(**tiny(annotation={"label_studio": {"project": "p" * 40}}))
    titled = {"project": "p" * 50, "adjudication": "disputed"}
    VerticalSpec(**tiny(annotation={"label_studio": titled}))


def test_the_asset_shows_the_guideline_and_gives_people_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path / "data"))
    spec = spec_of("entities")
    asset = build_label_standard(spec, "labels")
    result = dg.materialize([asset], resources={"io_manager": StoreIOManager()})
    (materialized,) = result.asset_materializations_for_node(asset.op.name)
    assert materialized.metadata["guideline"].value == guideline(spec)
    stored, people = current(store_root() / "tiny" / "label_standard"), tmp_path / "data" / "tiny"
    for name in ("guideline.md", "label_studio.xml", "rows.schema.json"):
        exported = (people / "label_standard" / name).read_text()
        assert exported == (stored / name).read_text()
    assert json.loads(exported)["$schema"].endswith("2020-12/schema")
