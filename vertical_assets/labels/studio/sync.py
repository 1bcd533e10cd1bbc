"""Labels to and from a Label Studio server: tasks are pushed, annotations pulled as batch files.

What was taken is known from the batch files themselves, so that a pull may be killed at any moment:
the next one asks again for what changed since the cursor, and finds what is in the files already.

- A task is taken when it has as many annotations as the project wants.
- Its later annotations, changed and withdrawn ones change the file that it came with, since people
  are compared on one item within one batch.
- The cursor is the server's clock before the pull began, and is written last.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from upath import UPath

from vertical_assets.corpus.reading.sources import drop_folder
from vertical_assets.labels.studio.client import (
    EDITED,
    MISSING,
    TASKS_PER_IMPORT,
    LabelStudio,
    StudioError,
)
from vertical_assets.labels.studio.guideline import as_html, guideline
from vertical_assets.labels.studio.interface import labeling_config
from vertical_assets.labels.studio.results import REASON, rows_of_task
from vertical_assets.labels.tasks.exports import askable, studio_task
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.studio import DECIDES
from vertical_assets.spec.studio import LabelStudio as Policy
from vertical_assets.store.atomic import locked, replace

STATE = "label_studio"  # folder of the cursors


@dataclass(frozen=True)
class Desk:
    """A project where people work, and where what they say goes.

    Attributes:
        title: of the project.
        annotators: people per task, of the share `overlap` of the tasks.
        files: batches without their number, relative to the drop folder.
        least: tasks that make a batch.
        crossed: share of them that two people must have labelled.
        decides: whether people decide on disputed items there.
    """

    title: str
    annotators: int
    overlap: float
    files: str
    least: int
    crossed: float = 0.0
    decides: bool = False


@dataclass(frozen=True)
class Pushed:
    """How many tasks were added, how many were there before, and how many have no question, so that
    the server can't put them.
    """

    project: int
    added: int
    there: int
    unasked: int = 0


@dataclass(frozen=True)
class Pulled:
    """What a pull brought.

    Attributes:
        file: the new batch, if there is one.
        tasks: in it.
        annotations: in it.
        changed: batches from before in which something changed.
        skipped: annotations of changed tasks that say nothing: skipped, or rejected by a reviewer.
        waiting: tasks that are labelled, but too few for a batch, or too few of them by two.
    """

    file: UPath | None = None
    tasks: int = 0
    annotations: int = 0
    changed: tuple[UPath, ...] = ()
    skipped: int = 0
    waiting: int = 0


def labelling_desk(spec: VerticalSpec) -> Desk:
    """Where people label."""
    policy = _policy(spec)
    title = policy.project or spec.name
    return Desk(
        title,
        policy.annotators,
        policy.overlap,
        "annotations/label_studio",
        policy.batch,
        crossed=spec.agreement.overlap,
    )


def adjudication_desk(spec: VerticalSpec) -> Desk:
    """Where a person decides on disputed items."""
    policy = _policy(spec)
    title = policy.adjudication or f"{policy.project or spec.name}{DECIDES}"
    return Desk(title, 1, 1.0, "adjudication/decisions-label_studio", 1, decides=True)


def _policy(spec: VerticalSpec) -> Policy:
    if spec.annotation.label_studio is None:
        raise ValueError(
            f"{spec.name} has no project on Label Studio; add 'annotation.label_studio: {{}}'"
        )
    return spec.annotation.label_studio


def push(
    server: LabelStudio, spec: VerticalSpec, desk: Desk, rows: Iterable[Mapping[str, Any]]
) -> Pushed:
    """Brings the project up to the standard and adds the tasks that it has not got yet.

    Args:
        server: the server.
        spec: sections `domain`, `language`, `task`, `agreement`.
        desk: of the vertical.
        rows: of LABELING_TASKS, or of ADJUDICATION where the desk decides.

    Raises:
        StudioError: some tasks may be there; push again.
    """
    rows = list(rows)
    asked = [row for row in rows if askable(row, spec.task.kind)]
    wanted = {_key(row): row for row in asked}
    config = labeling_config(spec, adjudication=desk.decides)
    instruction = as_html(guideline(spec))
    folder = drop_folder(spec.name) / STATE
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # two that push at once would both find that a task is not there
        project = server.save_project(
            desk.title, config, instruction, desk.annotators, desk.overlap
        )
        there = (
            set() if project.created else {_key(data) for data in server.data_of(project.number)}
        )
        new = [_task(row, spec, desk) for key, row in wanted.items() if key not in there]
        for at in range(0, len(new), TASKS_PER_IMPORT):
            server.add_tasks(project.number, new[at : at + TASKS_PER_IMPORT])
    unasked = len(rows) - len(asked)
    return Pushed(project.number, len(new), len(wanted) - len(new), unasked)


def _key(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a task is about; an item is pushed once, in question answering once a question."""
    return row.get("item_id"), row.get("question")


def _task(row: Mapping[str, Any], spec: VerticalSpec, desk: Desk) -> dict[str, Any]:
    if not desk.decides:
        predictions = json.loads(row["predictions"])
        return studio_task({**row, "predictions": predictions}, spec.task.kind)
    votes = json.loads(row["votes"])
    said = "; ".join(f"{label}: {count}" for label, count in votes.items())
    data = {"item_id": row["item_id"], "text": row["text"], "votes": said}
    return {"data": data | ({"question": row["question"]} if row.get("question") else {})}


def pull(server: LabelStudio, spec: VerticalSpec, desk: Desk, least: int | None = None) -> Pulled:
    """Takes what is new or changed since the last pull.

    Args:
        server: the server.
        spec: section `task`.
        desk: of the vertical.
        least: tasks that make a batch, whoever labelled them; by default the desk's, of which
            enough are by two people.

    Raises:
        StudioError: nothing is lost; pull again.
    """
    project = server.project(desk.title)
    if project is None:
        raise StudioError(
            MISSING,
            f"the Label Studio server {server.url} has no project {desk.title!r} (or its owner did "
            f"not share it); run 'vertical-assets label-studio push {spec.name}'",
        )
    data = drop_folder(spec.name)
    stem = data / f"{desk.files}-{project.number}"
    state = data / STATE / f"{project.number}.json"
    for folder in (stem.parent, state.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(state.parent):
        cursor = orjson.loads(state.read_bytes()) if state.exists() else {}
        began = server.clock()
        tasks = list(server.changed_tasks(project.number, cursor.get("since")))
        wanted = desk if least is None else dataclasses.replace(desk, least=least, crossed=0.0)
        pulled = _take(tasks, server, spec, wanted, stem)
        if not pulled.waiting and cursor.get("since") != began:
            replace(state, orjson.dumps({"project": desk.title, "since": began}))
    return pulled


def _take(
    tasks: list[dict[str, Any]],
    server: LabelStudio,
    spec: VerticalSpec,
    desk: Desk,
    stem: UPath,
) -> Pulled:
    """Writes what tasks say into the files that they came with, or into a new one."""
    if not tasks:
        return Pulled()
    users = server.users()
    numbers = {file: _number(file, stem) for file in stem.parent.glob(f"{stem.name}-*.jsonl")}
    files = {file: _rows(file) for file, number in sorted(numbers.items()) if number is not None}
    home = {row["label_studio"]["task"]: file for file, rows in files.items() for row in rows}
    fresh: list[list[dict[str, Any]]] = []
    changed: set[UPath] = set()
    skipped = 0
    for task in tasks:
        rows, unsaid = _said(task, spec, desk, users)
        skipped += unsaid
        file = home.get(task["id"])
        if file is None:
            if task["is_labeled"] and rows:
                fresh.append(rows)
            continue
        others = [row for row in files[file] if row["label_studio"]["task"] != task["id"]]
        if len(others) + len(rows) != len(files[file]) or any(r not in files[file] for r in rows):
            files[file] = others + rows
            changed.add(file)
    for file in changed:
        if files[file]:
            replace(file, _lines(files[file]))
        else:
            file.unlink()
    crossed = sum(len({row.get("annotator_id") for row in rows}) > 1 for rows in fresh)
    if len(fresh) < max(1, desk.least) or crossed < desk.crossed * len(fresh):
        return Pulled(changed=tuple(sorted(changed)), skipped=skipped, waiting=len(fresh))
    latest = max((number or 0 for number in numbers.values()), default=0)
    new = stem.with_name(f"{stem.name}-{latest + 1}.jsonl")
    rows = [row for said in fresh for row in said]
    replace(new, _lines(rows))
    return Pulled(new, len(fresh), len(rows), tuple(sorted(changed)), skipped)


def _said(
    task: Mapping[str, Any], spec: VerticalSpec, desk: Desk, users: Mapping[int, str]
) -> tuple[list[dict[str, Any]], int]:
    """Rows of a task, and how many of its annotations say nothing."""
    found = list(rows_of_task(task, spec.task.kind, users, f"task {task['id']}"))
    rows = [dict(row.values) for row in found if row.rule is None]
    if desk.decides:
        rows = [_decision(row) for row in rows]
    # As the files have them, to be compared.
    return [orjson.loads(orjson.dumps(row)) for row in rows], len(found) - len(rows)


def _decision(row: dict[str, Any]) -> dict[str, Any]:
    """What an annotator said, as a decision."""
    who = ("annotator_id", "annotator_kind", "created_at", "lead_time_s", REASON)
    return {
        **{name: value for name, value in row.items() if name not in who},
        "decided_by": row["annotator_id"],
        "decided_at": row["created_at"],
        REASON: row.get(REASON, ""),
    }


def _number(file: UPath, stem: UPath) -> int | None:
    """A batch's number; None of a file that somebody else put beside ours, e.g. a copy."""
    number = file.stem.removeprefix(f"{stem.name}-")
    return int(number) if number.isascii() and number.isdigit() else None


def _rows(file: UPath) -> list[dict[str, Any]]:
    """Rows of one of our files.

    Raises:
        StudioError: somebody edited it, so that it can't be read.
    """
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            row = orjson.loads(line)
            row["label_studio"]["task"]
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            raise StudioError(
                EDITED,
                f"{file}, line {number} is not as it was pulled ({error}); mend it, or take it "
                f"and the folder {STATE} away: all is pulled anew then",
            ) from error
        rows.append(row)
    return rows


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)
