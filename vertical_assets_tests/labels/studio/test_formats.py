"""Exports of annotation tools become the rows that the label standard reads.

The samples are written after the formats' sources: Label Studio's "Label Studio JSON format of
annotated tasks", doccano 1.8 (`data_export.pipeline`), Argilla 2.8 (`records.to_json`) and the
records of its server.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.corpus.reading.sources import Row
from vertical_assets.labels.anchoring import ItemText
from vertical_assets.labels.standard import read_target
from vertical_assets.labels.studio.formats import rows_of
from vertical_assets.labels.studio.results import code_points, rows_of_task
from vertical_assets.labels.targets import Span, to_cell
from vertical_assets.labels.tasks.exports import studio_task
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets_tests.labels.studio.test_standard import TEXT, spec_of

CHOICE = {"from_name": "label", "to_name": "text", "type": "choices"}
MARK = {"from_name": "label", "to_name": "text", "type": "labels"}


def export(folder: Path, name: str, content: Any) -> UPath:
    file = folder / name
    if name.endswith(".jsonl"):
        file.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        file.write_text(json.dumps(content))
    return UPath(file)


def read(file: UPath, kind: str) -> list[Row]:
    rows = rows_of(file, spec_of(kind))
    assert rows is not None
    return list(rows)


def said(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row.values.get(name) for name in names)


def annotated(*annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    """A task of Label Studio's export, as far as its own fields go."""
    return {
        "id": 7,
        "data": {"item_id": "d1", "text": TEXT, **data},
        "annotations": [
            {
                "id": number,
                "completed_by": {"id": number, "email": f"{number}@example.com"},
                "was_cancelled": False,
                "ground_truth": False,
                "created_at": "2024-05-01T10:00:00.000000Z",
                "updated_at": "2024-05-01T10:05:00.000000Z",
                "lead_time": 4.5,
                **annotation,
            }
            for number, annotation in enumerate(annotations, 1)
        ],
        "predictions": [],
        "meta": {},
    }


def choose(*labels: str) -> list[dict[str, Any]]:
    return [{**CHOICE, "id": "a", "value": {"choices": list(labels)}}]


def mark(start: int, end: int, label: str, text: str = TEXT) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text[start:end], "labels": [label]}
    return {**MARK, "id": "b", "value": value}


def test_label_studio_choices_of_several_people(tmp_path: Path) -> None:
    task = annotated(
        {"result": choose("fever"), "ground_truth": True},
        {"result": choose("cough"), "completed_by": 12},
        {"result": [], "was_cancelled": True},
        {"result": choose("cough"), "reviews": [{"accepted": True}, {"accepted": False}]},
        {"result": choose("cough"), "reviews": [{"accepted": False}, {"accepted": True}]},
    )
    rows = read(export(tmp_path, "project-1.json", [task]), "classification")
    assert [said(row, "item_id", "annotator_id", "label") for row in rows] == [
        ("d1", "1@example.com", "fever"),
        ("d1", "12", "cough"),
        ("d1", "3@example.com", None),
        ("d1", "4@example.com", "cough"),
        ("d1", "5@example.com", "cough"),
    ]
    assert [row.rule for row in rows] == [None, None, "skipped", "review_rejected", None]
    assert rows[0].place == "project-1.json:record 1, task 7, annotation 1"
    assert said(rows[0], "created_at", "lead_time_s", "ground_truth", "annotator_kind") == (
        "2024-05-01T10:05:00.000000Z",
        4.5,
        True,
        "human",
    )


def test_label_studio_several_choices_numbers_and_ratings(tmp_path: Path) -> None:
    def one(kind: str, *result: dict[str, Any]) -> Row:
        (row,) = read(export(tmp_path, "e.json", [annotated({"result": list(result)})]), kind)
        return row

    number = {"from_name": "x", "to_name": "text", "type": "number", "value": {"number": 3.5}}
    rating = {"from_name": "x", "to_name": "text", "type": "rating", "value": {"rating": 4}}
    assert one("multi_label", *choose("fever", "cough")).values["labels"] == ["fever", "cough"]
    assert one("multi_label").values["labels"] == []
    assert one("regression", number).values["value"] == 3.5
    assert one("regression", rating).values["value"] == 4
    # No single label: refused by the standard, as it is.
    assert one("classification", *choose("fever", "cough")).values["label"] == ["fever", "cough"]
    assert one("classification").values["label"] is None


def test_label_studio_spans_have_what_surrounds_them(tmp_path: Path) -> None:
    result = [mark(26, 31, "fever"), mark(0, 15, "cough")]
    (row,) = read(export(tmp_path, "e.json", [annotated({"result": result})]), "entities")
    assert TEXT[26:31] == "fever"
    assert row.values["spans"][0] == {
        "start": 26,
        "end": 31,
        "label": "fever",
        "quote": "fever",
        "prefix": TEXT[:26],
        "suffix": TEXT[31:],
    }
    spans = read_target(row.values, ItemText(TEXT), spec_of("entities"))
    assert spans == (Span(0, 15, "cough"), Span(26, 31, "fever"))
    # In a text that cleaning changed, what stands around a quote tells where it is.
    longer = f"fever, {TEXT}"
    assert read_target(row.values, ItemText(longer, changed=True), spec_of("entities")) == (
        Span(7, 22, "cough"),
        Span(33, 38, "fever"),
    )


def test_label_studio_answers_with_question_type_and_reason(tmp_path: Path) -> None:
    typed = {"from_name": "question_type", "to_name": "text", "type": "choices"}
    why = {"from_name": "reason", "to_name": "text", "type": "textarea"}
    result = [
        mark(26, 31, "answer"),
        {**typed, "value": {"choices": ["definition"]}},
        {**why, "value": {"text": ["it is", " said "]}},
    ]
    written = {"from_name": "answer", "to_name": "text", "type": "textarea"}
    other = [{**written, "value": {"text": ["39 degrees"]}}]
    tasks = annotated({"result": result}, {"result": other}, {"result": []}, question="Ill?")
    rows = read(export(tmp_path, "e.json", [tasks]), "question_answering")
    assert [said(row, "question", "question_type") for row in rows] == [
        ("Ill?", "definition"),
        ("Ill?", None),
        ("Ill?", None),
    ]
    assert rows[0].values["reason"] == "it is said"
    read_spans = [
        read_target(row.values, ItemText(TEXT), spec_of("question_answering")) for row in rows
    ]
    assert read_spans == [(Span(26, 31, "answer"),), (Span(35, 45, "answer"),), ()]


def test_an_item_may_be_named_as_its_source_has_it(tmp_path: Path) -> None:
    tasks = [annotated({"result": choose("fever")}) for _ in range(3)]
    tasks[0]["data"] = {"text": TEXT, "source": "shop", "id": 5}
    tasks[1]["data"], tasks[1]["meta"] = {"text": TEXT}, {"item_id": "d9"}
    tasks[2]["data"] = {"text": TEXT}
    rows = read(export(tmp_path, "e.json", tasks), "classification")
    assert [said(row, "item_id", "source", "id") for row in rows] == [
        (None, "shop", 5),
        ("d9", None, None),
        (None, None, None),
    ]
    assert [row.rule for row in rows] == [None, None, "missing_item"]
    assert "record 3, task 7" in (rows[2].reason or "")


def test_doccano_names_the_annotator_by_the_file(tmp_path: Path) -> None:
    rows = read(
        export(
            tmp_path,
            "ann.jsonl",
            [
                {"id": 1, "text": TEXT, "item_id": "d1", "label": ["fever"], "Comments": []},
                {"id": 2, "text": TEXT, "item_id": "d2", "label": ["fever", "cough"]},
                {"id": 3, "text": TEXT, "item_id": "d3", "label": [], "Comments": ["blurred"]},
                {"id": 4, "text": TEXT, "label": ["fever"]},
            ],
        ),
        "classification",
    )
    assert [said(row, "item_id", "annotator_id", "label", "comment") for row in rows] == [
        ("d1", "ann", "fever", None),
        ("d2", "ann", ["fever", "cough"], None),
        ("d3", "ann", None, "blurred"),
        (None, "ann", "fever", None),
    ]
    assert [row.rule for row in rows] == [None, None, None, "missing_item"]
    assert rows[3].place == "ann.jsonl:4"


def test_doccano_spans_as_lists_as_entities_and_of_its_first_version(tmp_path: Path) -> None:
    base = {"id": 1, "text": TEXT, "item_id": "d1"}
    entity = {"id": 5, "label": "fever", "start_offset": 26, "end_offset": 31}
    first = {"text": TEXT, "meta": {"item_id": "d1"}, "annotation_approver": None}
    by_user = [{"label": "fever", "start_offset": 26, "end_offset": 31, "user": n} for n in (1, 2)]
    for record, users in (
        ({**base, "label": [[26, 31, "fever"]], "Comments": []}, ["all"]),
        ({**base, "entities": [entity], "relations": [], "Comments": []}, ["all"]),
        ({"id": 1, **first, "annotations": by_user}, ["1", "2"]),
    ):
        rows = read(export(tmp_path, "all.jsonl", [record]), "entities")
        assert [row.values["annotator_id"] for row in rows] == users
        for row in rows:
            spans = read_target(row.values, ItemText(TEXT), spec_of("entities"))
            assert (row.values["item_id"], spans) == ("d1", (Span(26, 31, "fever"),))


def test_argilla_by_question_and_by_user(tmp_path: Path) -> None:
    record = {
        "id": "d1",
        "fields": {"text": TEXT},
        "metadata": {},
        "suggestions": {"label": {"value": "cough", "score": 0.6, "agent": "model"}},
        "vectors": {},
        "status": "completed",
        "_server_id": "6d1f",
    }
    by_question = {"label": [{"value": "fever", "user_id": u} for u in ("u1", "u2")]}
    rows = read(
        export(tmp_path, "a.json", [{**record, "responses": by_question}]), "classification"
    )
    assert [said(row, "item_id", "annotator_id", "label") for row in rows] == [
        ("d1", "u1", "fever"),
        ("d1", "u2", "fever"),
    ]
    by_user = [
        {"user_id": "u1", "status": "submitted", "values": {"symptoms": {"value": ["fever"]}}},
        {"user_id": "u2", "status": "draft", "values": {"symptoms": {"value": ["cough"]}}},
        {"user_id": "u3", "status": "discarded", "values": {}},
        {"user_id": "u4", "status": "submitted", "values": {"a": {"value": 1}, "b": {"value": 2}}},
    ]
    page = {"items": [{**record, "responses": by_user}], "total": 1}
    rows = read(export(tmp_path, "a.json", page), "multi_label")
    assert [row.rule for row in rows] == [None, "draft", "discarded", "unknown_question"]
    assert rows[0].values["labels"] == ["fever"]
    assert "Name the question 'symptoms'" in (rows[3].reason or "")


def test_argilla_spans_and_ratings(tmp_path: Path) -> None:
    def one(kind: str, name: str, value: Any, **fields: Any) -> Row:
        record = {
            "id": "x",
            "fields": {"text": TEXT, **fields},
            "metadata": {"item_id": "d1"},
            "responses": {name: [{"value": value, "user_id": "u1"}]},
        }
        (row,) = read(export(tmp_path, "a.json", [record]), kind)
        assert row.values["item_id"] == "d1"
        return row

    row = one("entities", "spans", [{"label": "fever", "start": 26, "end": 31}])
    assert read_target(row.values, ItemText(TEXT), spec_of("entities")) == (Span(26, 31, "fever"),)
    assert one("regression", "rating", 7).values["value"] == 7
    answer = one("question_answering", "answer", "39 degrees", question="How high?")
    assert said(answer, "question", "spans") == ("How high?", [{"quote": "39 degrees"}])


def test_rows_of_our_own_and_broken_files_are_left_to_the_readers(tmp_path: Path) -> None:
    own = [{"item_id": "d1", "annotator_id": "ann", "label": "fever", "text": TEXT}]
    for name, content in (("own.jsonl", own), ("own.json", own), ("empty.json", [])):
        assert rows_of(export(tmp_path, name, content), spec_of("classification")) is None
    for name, text in (("cut.json", '[{"data": {'), ("none.jsonl", ""), ("table.csv", "a,b\n")):
        (tmp_path / name).write_text(text)
        assert rows_of(UPath(tmp_path / name), spec_of("classification")) is None


def test_a_record_unlike_the_others_is_a_row_that_says_so(tmp_path: Path) -> None:
    file = tmp_path / "ann.jsonl"
    good = json.dumps({"id": 1, "text": TEXT, "item_id": "d1", "label": ["fever"]})
    file.write_text(f'{good}\n{{"id": 2, "te\n\n{good}\n')
    rows = read(UPath(file), "classification")
    assert [(row.place, row.rule) for row in rows] == [
        ("ann.jsonl:1", None),
        ("ann.jsonl:2", "broken_row"),
        ("ann.jsonl:4", None),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"data": {"item_id": "d2"}, "annotations": [17]},
        {"data": {"item_id": "d2"}, "annotations": [{"result": ["x"]}]},
        {"fields": {"text": "a"}, "responses": [None]},
        {"fields": {"text": "a"}, "responses": {"label": None}},
        {"fields": {"text": "a"}, "responses": {"label": [{"value": "fever"}]}},
        {"fields": {"text": "a"}, "responses": {"label": []}, "metadata": ["x"]},
    ],
)
def test_a_record_that_no_such_program_writes_is_a_row_that_says_so(
    record: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever is in a file, it stops neither the sensor nor the other files."""
    file = tmp_path / "ann.jsonl"
    good = {"data": {"item_id": "d1"}, "annotations": [annotated({"result": choose("fever")})]}
    file.write_text(f"{json.dumps(good)}\n{json.dumps(record)}\n")
    for row in read(UPath(file), "classification"):
        assert row.rule is not None or row.place.startswith("ann.jsonl:1")


texts = st.text(st.sampled_from("ab 人𝒳😀\n"), min_size=1, max_size=20)


@given(texts, st.data())
def test_places_of_a_browser_become_characters(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    units = [len(text[:place].encode("utf-16-le")) // 2 for place in (start, end)]
    found = code_points(units[0], units[1], text[start:end], text)
    assert text[found[0] : found[1]] == text[start:end]
    assert code_points(start, end, text[start:end], text) == (start, end)


@st.composite
def targets(draw: st.DrawFn) -> tuple[TaskKind, Any]:
    kind: TaskKind = draw(
        st.sampled_from(("classification", "multi_label", "regression", "entities"))
    )
    labels = st.sampled_from(["fever", "cough"])
    if kind == "classification":
        return kind, draw(labels)
    if kind == "multi_label":
        chosen = draw(st.sets(labels))
        return kind, tuple(label for label in ("fever", "cough") if label in chosen)
    if kind == "regression":
        return kind, draw(st.floats(0, 10))
    places = draw(st.lists(st.integers(0, len(TEXT)), max_size=6, unique=True).map(sorted))
    pairs = zip(places[::2], places[1::2], strict=False)
    return kind, tuple(Span(a, b, draw(labels)) for a, b in pairs if TEXT[a:b].strip())


@given(targets())
def test_what_is_pushed_as_a_prediction_and_accepted_comes_back_the_same(
    said: tuple[TaskKind, Any],
) -> None:
    kind, target = said
    spec: VerticalSpec = spec_of(kind)
    prediction = {"source": "rules", "score": None, "target": to_cell(target, kind)}
    pushed = {"item_id": "d1", "text": TEXT, "question": None, "strategy": "random"}
    task = studio_task({**pushed, "route": "annotator", "predictions": [prediction]}, kind)
    accepted = {"id": 1, "completed_by": 3, "result": task["predictions"][0]["result"]}
    (row,) = rows_of_task({**task, "id": 9, "annotations": [accepted]}, kind, {3: "ann"}, "task 9")
    assert row.values["annotator_id"] == "ann"
    assert read_target(row.values, ItemText(TEXT), spec) == target
