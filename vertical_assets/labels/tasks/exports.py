"""Tasks as files for people: a CSV for spreadsheets, JSON lines, Label Studio's tasks (SPEC D7).

A row that is filled in is a row of people's labels as it stands: the CSV, saved under another name
in the folder that `annotation.path` names, is read back as any other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.reading.sources import read_file
from vertical_assets.corpus.review.cells import csv_bytes
from vertical_assets.labels.targets import COLUMN
from vertical_assets.spec import Source, TaskKind
from vertical_assets.store import atomic

CSV_NAME, LINES_NAME, STUDIO_NAME = "tasks.csv", "tasks.jsonl", "label_studio_tasks.json"
FROM_NAME, TO_NAME = "label", "text"  # of the control and the object in Label Studio's interface


class ExportError(Exception):
    """An export that would destroy people's work; the message names the file and the remedy."""


def export_tasks(tasks: pa.Table, folder: UPath, kind: TaskKind) -> list[UPath]:
    """Writes LABELING_TASKS for people; each file appears whole or not at all.

    Args:
        tasks: LABELING_TASKS.
        folder: where to; made if it is not there.
        kind: of the task.

    Returns:
        The files: CSV_NAME, LINES_NAME, STUDIO_NAME.

    Raises:
        ExportError: somebody labelled in the exported CSV; nothing is written.
    """
    rows = [{**row, "predictions": json.loads(row["predictions"])} for row in tasks.to_pylist()]
    shown = ("item_id", "text", "question", "strategy", "route")
    flat = [
        {
            **{name: row[name] or "" for name in shown},
            "prediction": _words(row["predictions"], row["text"]),
        }
        for row in rows
    ]
    files = [
        write_csv(folder / CSV_NAME, (*shown, "prediction"), flat, kind),
        write_lines(folder / LINES_NAME, rows),
    ]
    shown_there = [studio_task(row, kind) for row in rows if askable(row, kind)]
    studio = json.dumps(shown_there, ensure_ascii=False, indent=1)
    atomic.replace(folder / STUDIO_NAME, f"{studio}\n".encode())
    return [*files, folder / STUDIO_NAME]


def write_csv(
    file: UPath, columns: Sequence[str], rows: Iterable[Mapping[str, str]], kind: TaskKind
) -> UPath:
    """Rows with empty columns beside them for who says what.

    Raises:
        ExportError: the file that is there has labels in it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    answer = ("annotator_id", COLUMN[kind])
    with atomic.locked(file.parent):
        if file.exists() and _filled(file, answer):
            raise ExportError(
                f"{file} holds labels that new tasks would overwrite; move it to the folder of "
                "the annotations under a name of your own"
            )
        cells = ([row[name] for name in columns] + [""] * len(answer) for row in rows)
        atomic.replace(file, csv_bytes([*columns, *answer], cells))
    return file


def write_lines(file: UPath, rows: Iterable[Mapping[str, Any]]) -> UPath:
    """Rows as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    with atomic.locked(file.parent):
        atomic.replace(file, "".join(f"{line}\n" for line in lines).encode())
    return file


def _filled(file: UPath, answer: Sequence[str]) -> bool:
    source = Source(name="tasks", kind="user", licence="own", path=file.name, format="csv")
    return any(
        str(row.values.get(name) or "").strip()
        for row in read_file(file, source)
        for name in answer
    )


def askable(row: Mapping[str, Any], kind: TaskKind) -> bool:
    """Whether Label Studio can put the task: of question answering it has to have its question,
    which people otherwise write into a file beside their answer.
    """
    return kind != "question_answering" or row["question"] is not None


def studio_task(row: Mapping[str, Any], kind: TaskKind) -> dict[str, Any]:
    """A task of Label Studio with predictions, from a row whose predictions are a list."""
    named = ("item_id", "text", "question", "strategy", "route")
    return {
        "data": {name: row[name] for name in named if row[name] is not None},
        "predictions": [
            {
                "model_version": each["source"],
                **({} if each["score"] is None else {"score": each["score"]}),
                "result": studio_results(each["target"], row["text"], kind),
            }
            for each in row["predictions"]
        ],
    }


def studio_results(target: Any, text: str, kind: TaskKind) -> list[dict[str, Any]]:
    """A target, as its column has it, in Label Studio's result format."""
    base = {"from_name": FROM_NAME, "to_name": TO_NAME}
    if kind in ("classification", "multi_label"):
        choices = [target] if kind == "classification" else list(target)
        return [{**base, "type": "choices", "value": {"choices": choices}}] if choices else []
    if kind == "regression":
        return [{**base, "type": "number", "value": {"number": target}}]
    return [
        {
            **base,
            "id": f"{span['start']}-{span['end']}",
            "type": "labels",
            "value": {
                "start": span["start"],
                "end": span["end"],
                "text": text[span["start"] : span["end"]],
                "labels": [span["label"]],
            },
        }
        for span in target
    ]


def _words(predictions: Sequence[Mapping[str, Any]], text: str) -> str:
    """Pre-labels for the eye: `good (0.91, model)`."""

    def show(target: Any) -> str:
        if isinstance(target, list):
            return ", ".join(
                each
                if isinstance(each, str)
                else f"{text[each['start'] : each['end']]}: {each['label']}"
                for each in target
            )
        return f"{target:g}" if isinstance(target, float) else str(target)

    return "; ".join(
        f"{show(each['target']) or 'none'} ("
        + ("" if each["score"] is None else f"{each['score']:.2f}, ")
        + f"{each['source'].partition(':')[0]})"
        for each in predictions
    )
