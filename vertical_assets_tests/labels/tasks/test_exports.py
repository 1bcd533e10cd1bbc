"""Tasks go to people as files, and a filled-in file is read back as labels."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.labels.annotations import read_annotations
from vertical_assets.labels.items import items_of
from vertical_assets.labels.tasks.exports import (
    CSV_NAME,
    LINES_NAME,
    STUDIO_NAME,
    ExportError,
    export_tasks,
    studio_results,
)
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import DUPLICATES
from vertical_assets.store.task_contracts import LABELING_TASKS
from vertical_assets_tests.labels.tasks.items import documents, spec_of


def tasks_of(found: pa.Table, *predictions: dict[str, Any]) -> pa.Table:
    rows = [
        {
            "item_id": item,
            "text": text,
            "strategy": "random",
            "reason": "drawn at random",
            "predictions": json.dumps(predictions),
            "route": "annotator",
        }
        for item, text in zip(found["doc_id"].to_pylist(), found["text"].to_pylist(), strict=True)
    ]
    return pa.Table.from_pylist(rows, LABELING_TASKS)


def test_files_say_the_same(tmp_path: Path) -> None:
    found = documents(4)
    said = {"source": "model:c0ffee", "score": 0.9, "target": "positive"}
    files = export_tasks(tasks_of(found, said), UPath(tmp_path / "tasks"), "classification")
    assert [file.name for file in files] == [CSV_NAME, LINES_NAME, STUDIO_NAME]
    with (tmp_path / "tasks" / CSV_NAME).open(encoding="utf-8-sig", newline="") as opened:
        cells = list(csv.DictReader(opened))
    assert [row["item_id"] for row in cells] == found["doc_id"].to_pylist()
    assert cells[0]["prediction"] == "positive (0.90, model)"
    assert cells[0]["annotator_id"] == cells[0]["label"] == ""
    lines = (tmp_path / "tasks" / LINES_NAME).read_text("utf-8").splitlines()
    assert json.loads(lines[0])["predictions"] == [said]
    (task, *_) = json.loads((tmp_path / "tasks" / STUDIO_NAME).read_text("utf-8"))
    assert task["data"]["item_id"] == "d000"
    assert task["predictions"] == [
        {
            "model_version": "model:c0ffee",
            "score": 0.9,
            "result": [
                {
                    "from_name": "label",
                    "to_name": "text",
                    "type": "choices",
                    "value": {"choices": ["positive"]},
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("kind", "target", "value"),
    [
        ("multi_label", ["a", "b"], {"choices": ["a", "b"]}),
        ("regression", 2.5, {"number": 2.5}),
        (
            "entities",
            [{"start": 1, "end": 3, "label": "a"}],
            {"start": 1, "end": 3, "text": "好吃", "labels": ["a"]},
        ),
    ],
)
def test_targets_of_every_kind_are_label_studios_results(
    kind: TaskKind, target: Any, value: dict[str, Any]
) -> None:
    (result,) = studio_results(target, "很好吃", kind)
    assert result["value"] == value


def test_people_write_questions_into_files_alone(tmp_path: Path) -> None:
    rows = tasks_of(documents(2)).to_pylist()
    asked = pa.Table.from_pylist([rows[0], {**rows[1], "question": "为什么？"}], LABELING_TASKS)
    export_tasks(asked, UPath(tmp_path), "question_answering")
    with (tmp_path / CSV_NAME).open(encoding="utf-8-sig", newline="") as opened:
        assert [row["question"] for row in csv.DictReader(opened)] == ["", "为什么？"]
    (task,) = json.loads((tmp_path / STUDIO_NAME).read_text("utf-8"))
    assert task["data"]["question"] == "为什么？"


def test_a_filled_in_csv_is_a_file_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    spec, found = spec_of(annotation={"path": "annotations/*"}), documents(4)
    folder = UPath(tmp_path / "tiny" / "labeling_tasks")
    export_tasks(tasks_of(found), folder, "classification")
    with (folder / CSV_NAME).open("r", encoding="utf-8-sig", newline="") as opened:
        cells = list(csv.DictReader(opened))
    mine = tmp_path / "tiny" / "annotations" / "anna.csv"
    mine.parent.mkdir()
    with mine.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows({**row, "annotator_id": "anna", "label": "positive"} for row in cells)
    items = items_of(spec, found, DUPLICATES.empty_table())
    read = read_annotations(spec, items, [UPath(mine)], "anna")
    assert read.rejected.num_rows == 0
    assert read.annotations["item_id"].to_pylist() == found["doc_id"].to_pylist()


def test_an_export_never_overwrites_labels(tmp_path: Path) -> None:
    tasks, folder = tasks_of(documents(2)), UPath(tmp_path)
    export_tasks(tasks, folder, "classification")
    export_tasks(tasks, folder, "classification")  # nobody labelled yet
    file = tmp_path / CSV_NAME
    content = file.read_text("utf-8-sig").splitlines()
    content[1] = f"{content[1].removesuffix(',')},positive"
    file.write_text("\n".join(content), "utf-8")
    before = file.read_bytes()
    with pytest.raises(ExportError, match=r"tasks\.csv holds labels .* move it"):
        export_tasks(tasks, folder, "classification")
    assert file.read_bytes() == before
