"""Label Studio's real server: a project of the standard, tasks out, what three people say back."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import krippendorff
import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.alerts import alerts
from vertical_assets.labels.adjudication.decisions import read_decisions
from vertical_assets.labels.agreement import agreement_report
from vertical_assets.labels.annotations import read_annotations
from vertical_assets.labels.batches.arrivals import SETTLED_SECONDS, arrivals
from vertical_assets.labels.items import items_of, needed_columns
from vertical_assets.labels.studio.automation import (
    LabelStudioServer,
    label_studio_sensor,
    pull_all,
)
from vertical_assets.labels.studio.client import LabelStudio, StudioError
from vertical_assets.labels.studio.guideline import as_html, guideline
from vertical_assets.labels.studio.interface import labeling_config
from vertical_assets.labels.studio.sync import (
    Pulled,
    Pushed,
    adjudication_desk,
    labelling_desk,
    pull,
    push,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ADJUDICATION, DUPLICATES
from vertical_assets.store.tables import stage_table
from vertical_assets.store.task_contracts import LABELING_TASKS
from vertical_assets.store.versions import commit
from vertical_assets_tests.conftest import Project, tiny
from vertical_assets_tests.labels.studio.conftest import OWNER_TOKEN, Server
from vertical_assets_tests.labels.tasks.items import documents, spec_of

TASKS, LABELLED = 200, 10
PEOPLE = ("ann@example.com", "bob@example.com", "cy@example.com")
STUDIO = {"project": "reviews of shops", "annotators": 3, "batch": 10}


def spec(**studio: Any) -> VerticalSpec:
    return spec_of(annotation={"label_studio": {**STUDIO, **studio}})


def tasks_of(found: pa.Table) -> pa.Table:
    """LABELING_TASKS with a prediction each, of negative and positive in turn."""
    rows = [
        {
            "item_id": item,
            "text": text,
            "strategy": "random",
            "reason": "drawn",
            "predictions": json.dumps(
                [{"source": "model:f00", "score": 0.75, "target": said_of(number)}]
            ),
            "route": "annotator",
        }
        for number, (item, text) in enumerate(
            zip(found["doc_id"].to_pylist(), found["text"].to_pylist(), strict=True)
        )
    ]
    return pa.Table.from_pylist(rows, LABELING_TASKS)


def said_of(number: int) -> str:
    return "positive" if number % 2 else "negative"


def choice(label: str) -> list[dict[str, Any]]:
    base = {"from_name": "label", "to_name": "text"}
    return [{**base, "type": "choices", "value": {"choices": [label]}}]


@dataclass
class Work:
    """A project in which three people have labelled the first tasks."""

    server: Server
    folder: Path
    texts: pa.Table
    pushed: tuple[Pushed, Pushed]
    people: dict[str, LabelStudio]
    numbers: list[int]  # of the tasks on the server

    def say(self, person: str, task: int, label: str) -> int:
        path = f"/api/tasks/{self.numbers[task]}/annotations/"
        made = self.people[person]._json("POST", path, json={"result": choice(label)})
        return int(made["id"])

    def pull(self) -> Pulled:
        return pull(self.server.owner(), spec(), labelling_desk(spec()))

    def rows(self, file: UPath | None) -> list[dict[str, Any]]:
        assert file is not None
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def drop_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERTICAL_DATA", str(folder))
        patch.setenv("VERTICAL_STORE", str(folder / "store"))
        yield folder


@pytest.fixture(scope="module")
def work(server: Server, drop_folder: Path) -> Work:
    """Ann and Bob agree, Cy says otherwise of every fifth item."""
    owner, texts = server.owner(), documents(TASKS)
    rows = tasks_of(texts).to_pylist()
    pushed = push(owner, spec(), labelling_desk(spec()), rows)
    again = push(owner, spec(), labelling_desk(spec()), rows)
    tokens = [server.sign_up(person) for person in PEOPLE]
    # A legacy token and two personal ones.
    chosen = [tokens[0][0], tokens[1][1], tokens[2][1]]
    people = {n: LabelStudio(server.url, t) for n, t in zip(PEOPLE, chosen, strict=True)}
    numbers = [task["id"] for task in owner._tasks(pushed.project, [], {"include": "id"})]
    work = Work(server, drop_folder / "tiny", texts, (pushed, again), people, numbers)
    # The last item waits for Cy.
    said = [(p, n) for p in PEOPLE for n in range(LABELLED + (p != PEOPLE[2]))]
    with ThreadPoolExecutor(2) as pool:
        labels = [said_of(n + 1) if p == PEOPLE[2] and n % 5 == 0 else said_of(n) for p, n in said]
        list(pool.map(work.say, *zip(*said, strict=True), labels))
    return work


def test_a_project_has_the_standards_interface_and_every_item_once(work: Work) -> None:
    pushed, again = work.pushed
    assert (pushed.added, pushed.there) == (TASKS, 0)
    assert (again.project, again.added, again.there) == (pushed.project, 0, TASKS)
    project = work.server.owner()._json("GET", f"/api/projects/{pushed.project}/")
    assert project["label_config"] == labeling_config(spec())
    assert project["expert_instruction"] == as_html(guideline(spec()))
    assert project["maximum_annotations"] == 3
    (task,) = [
        each
        for each in work.server.owner().changed_tasks(pushed.project, "2000-01-01T00:00:00.000Z")
        if each["data"]["item_id"] == "d001"
    ]
    (prediction,) = task["predictions"]
    assert prediction["result"] == choice("positive")
    assert (prediction["score"], prediction["model_version"]) == (0.75, "model:f00")


def test_what_people_say_comes_once_and_then_only_what_is_new_or_changed(work: Work) -> None:
    first = work.pull()
    assert (first.tasks, first.annotations) == (LABELLED, 3 * LABELLED)
    rows = work.rows(first.file)
    assert {row["annotator_id"] for row in rows} == set(PEOPLE)
    assert {row["item_id"] for row in rows} == {f"d{n:03}" for n in range(LABELLED)}
    alpha_of_the_batch_is_krippendorffs(work, rows)

    assert work.pull() == Pulled()  # nothing happened

    # Cy corrects himself and labels the item that waited for him; two are too few for a batch.
    (wrong,) = [r for r in rows if r["item_id"] == "d000" and r["annotator_id"] == PEOPLE[2]]
    number = wrong["label_studio"]["annotation"]
    cy = work.people[PEOPLE[2]]
    cy._json("PATCH", f"/api/annotations/{number}/", json={"result": choice(said_of(0))})
    work.say(PEOPLE[2], LABELLED, said_of(LABELLED))
    second = work.pull()
    assert (second.file, second.changed, second.waiting) == (None, (first.file,), 1)
    now = rows_by(work.rows(first.file), rows)
    changed = [(old, new) for old, new in zip(rows, now, strict=True) if old != new]
    assert [(old["label"], new["label"]) for old, new in changed] == [("positive", "negative")]

    third = pull(work.server.owner(), spec(), labelling_desk(spec()), least=1)
    assert (third.tasks, third.annotations, third.changed) == (1, 3, ())
    assert third.file is not None
    assert third.file.name.endswith("-2.jsonl")
    assert work.pull() == Pulled()


def rows_by(rows: list[dict[str, Any]], order: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of other ones of the same annotations."""
    by_number = {row["label_studio"]["annotation"]: row for row in rows}
    return [by_number[row["label_studio"]["annotation"]] for row in order]


def alpha_of_the_batch_is_krippendorffs(work: Work, rows: list[dict[str, Any]]) -> None:
    none = pa.Table.from_pylist([], DUPLICATES)
    items = items_of(spec(), work.texts.select(needed_columns(spec())), none)
    (batch,) = arrivals(spec(), time.time() + SETTLED_SECONDS + 1).batches
    read = read_annotations(spec(), items, batch.files, batch.key)
    assert (read.annotations.num_rows, read.rejected.num_rows) == (len(rows), 0)
    report = agreement_report(read.annotations, spec())
    said = [
        [
            int(row["label"] == "positive")
            for row in sorted(rows, key=lambda r: r["item_id"])
            if row["annotator_id"] == person
        ]
        for person in PEOPLE
    ]
    expected = krippendorff.alpha(said, level_of_measurement="nominal")
    assert report.to_pylist()[0]["value"] == pytest.approx(expected, abs=1e-9)
    assert 0.5 < expected < 0.85


def test_a_pull_killed_before_the_cursor_moved_takes_nothing_twice(work: Work) -> None:
    test = work.folder / "annotations"
    before = {file.name: file.read_bytes() for file in test.iterdir()}
    (cursor,) = (work.folder / "label_studio").glob("*.json")
    cursor.unlink()  # as it was before the first pull
    assert work.pull() == Pulled()
    assert {file.name: file.read_bytes() for file in test.iterdir()} == before
    assert cursor.exists()


def test_files_that_somebody_copied_or_edited_are_told(work: Work) -> None:
    pull(work.server.owner(), spec(), labelling_desk(spec()), least=1)
    batch = max((work.folder / "annotations").iterdir())
    (cursor,) = (work.folder / "label_studio").glob("*.json")
    whole = batch.read_bytes()
    copy = batch.with_name(f"{batch.stem}-copy.jsonl")
    copy.write_bytes(b"no batch of ours\n")
    cursor.unlink()
    assert work.pull() == Pulled()
    copy.unlink()
    batch.write_bytes(whole + b"{half a row\n")
    cursor.unlink()
    with pytest.raises(StudioError, match=r"line \d+ is not as it was pulled.*mend it") as raised:
        work.pull()
    assert raised.value.kind == "edited"
    assert not cursor.exists()  # nothing is passed over
    batch.write_bytes(whole)
    assert work.pull() == Pulled()


def test_skipped_and_withdrawn_annotations_are_counted_and_leave_the_batch(work: Work) -> None:
    pull(work.server.owner(), spec(), labelling_desk(spec()), least=1)
    batch = max((work.folder / "annotations").iterdir())
    gone = next(r for r in work.rows(UPath(batch)) if r["annotator_id"] == PEOPLE[0])
    ann = work.people[PEOPLE[0]]
    ann._answer("DELETE", f"/api/annotations/{gone['label_studio']['annotation']}/")
    assert work.pull().changed == (UPath(batch),)
    assert sorted(r["annotator_id"] for r in work.rows(UPath(batch))) == list(PEOPLE[1:])
    path = f"/api/tasks/{gone['label_studio']['task']}/annotations/?was_cancelled=1"
    ann._json("POST", path, json={"result": [], "was_cancelled": True})
    pulled = work.pull()
    assert (pulled.changed, pulled.skipped) == ((), 1)
    assert sorted(r["annotator_id"] for r in work.rows(UPath(batch))) == list(PEOPLE[1:])


def test_a_batch_waits_until_enough_of_it_is_cross_checked(work: Work) -> None:
    """The server is content with one person's word on half of the tasks, agreement is not."""
    half = spec_of(
        annotation={"label_studio": {"project": "half", "overlap": 0.5, "batch": 2}},
        agreement={"overlap": 0.5},
    )
    owner, desk = work.server.owner(), labelling_desk(half)
    pushed = push(owner, half, desk, tasks_of(work.texts.slice(0, 4)).to_pylist())
    tasks = [task["id"] for task in owner._tasks(pushed.project, [], {"include": "id"})]

    def say(person: str) -> None:
        for task in tasks:
            path = f"/api/tasks/{task}/annotations/"
            work.people[person]._json("POST", path, json={"result": choice("positive")})

    say(PEOPLE[0])
    alone = pull(owner, half, desk)
    assert (alone.file, alone.waiting) == (None, 2)
    say(PEOPLE[1])
    both = pull(owner, half, desk)
    assert (both.tasks, both.annotations, both.waiting) == (4, 8, 0)


def test_questions_that_nobody_asked_are_not_pushed(work: Work) -> None:
    """The server refuses all tasks of a request where one lacks what the interface shows."""
    asks = spec_of("question_answering", annotation={"label_studio": {"project": "questions"}})
    rows = [{**row, "predictions": "[]"} for row in tasks_of(work.texts.slice(0, 2)).to_pylist()]
    rows[1]["question"] = "What is praised?"
    owner = work.server.owner()
    pushed = push(owner, asks, labelling_desk(asks), rows)
    assert (pushed.added, pushed.there, pushed.unasked) == (1, 0, 1)
    (task,) = owner._tasks(pushed.project, [], {})
    assert task["data"]["question"] == "What is praised?"


def test_a_person_decides_on_disputed_items_with_a_reason(work: Work) -> None:
    desk = adjudication_desk(spec())
    rows = [
        {
            "item_id": "d005",
            "text": work.texts["text"][5].as_py(),
            "task": "sentiment",
            "votes": json.dumps({"positive": 2, "negative": 1}),
        }
    ]
    queue = pa.Table.from_pylist(rows, ADJUDICATION).to_pylist()
    owner = work.server.owner()
    assert push(owner, spec(), desk, queue).added == 1
    project = owner.project("reviews of shops adjudication")
    assert project is not None
    (task,) = owner._tasks(project.number, [], {})
    assert task["data"]["votes"] == "positive: 2; negative: 1"
    why = {"from_name": "reason", "to_name": "text", "type": "textarea"}
    result = [*choice("positive"), {**why, "value": {"text": ["praises the taste"]}}]
    path = f"/api/tasks/{task['id']}/annotations/"
    work.people[PEOPLE[1]]._json("POST", path, json={"result": result})
    pulled = pull(owner, spec(), desk)
    (decision,) = work.rows(pulled.file)
    none = pa.Table.from_pylist([], DUPLICATES)
    items = items_of(spec(), work.texts.select(needed_columns(spec())), none)
    read = read_decisions(spec(), items)
    assert (read.decisions.num_rows, read.rejected.num_rows) == (1, 0)
    assert pulled.file is not None
    assert pulled.file.name == f"decisions-label_studio-{project.number}-1.jsonl"
    assert {name: decision[name] for name in ("item_id", "label", "decided_by", "reason")} == {
        "item_id": "d005",
        "label": "positive",
        "decided_by": PEOPLE[1],
        "reason": "praises the taste",
    }
    assert decision["decided_at"].startswith("20")
    assert pull(owner, spec(), desk) == Pulled()


def test_what_is_wrong_with_the_server_is_said_with_the_remedy(work: Work) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    down = LabelStudio(f"http://127.0.0.1:{port}", "token", attempts=2)
    cases: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: down.project("x"), "server_down", "can't be reached .* start it"),
        (
            lambda: LabelStudio(work.server.url, "no token").project("x"),
            "wrong_token",
            "Invalid token.*LABEL_STUDIO_TOKEN",
        ),
        (lambda: LabelStudio(work.server.url, "a.b.c").project("x"), "wrong_token", "token"),
        (
            lambda: pull(
                work.server.owner(), spec(project="none"), labelling_desk(spec(project="none"))
            ),
            "missing",
            "no project 'none'.*label-studio push tiny",
        ),
        (lambda: work.server.owner().add_tasks(10**6, [{"data": {}}]), "missing", "404"),
        (
            lambda: work.server.owner().save_project("bad", "<View", "", 1, 1.0),
            "refused",
            "refuses a POST.*label_config",
        ),
    ]
    for call, kind, words in cases:
        with pytest.raises(StudioError, match=words) as raised:
            call()
        assert raised.value.kind == kind


def test_the_sensor_alerts_keeps_its_cursor_and_goes_on_when_the_server_is_back(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERTICAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    mine = spec(project="by sensor", batch=1)
    tasks = tasks_of(work.texts).slice(0, 3)
    entry = UPath(tmp_path) / "store" / "tiny" / "labeling_tasks"
    commit(stage_table(UPath(tmp_path) / "store", LABELING_TASKS, tasks.to_batches()), entry)
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "wrong")
    monkeypatch.setenv("LABEL_STUDIO_URL", work.server.url)
    instance, resources = dg.DagsterInstance.ephemeral(), {"label_studio": LabelStudioServer()}
    cursor: str | None = None

    def tick() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        result = label_studio_sensor(mine)(context)
        cursor = context.cursor
        assert isinstance(result, dg.SkipReason)
        return result.skip_message or ""

    for _ in range(2):
        assert "refuses the token" in tick()
    assert cursor == "{}"
    assert [each["kind"] for each in alerts()] == ["label_studio_wrong_token"]  # once a day
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", OWNER_TOKEN)
    assert "3 tasks pushed to 'by sensor'" in tick()
    assert tick() == "nothing new"
    mine = spec(project="by sensor", batch=1, overlap=0.5)  # no task is another one
    assert tick() == "0 tasks pushed to 'by sensor', 3 were there"
    mine = spec(project="by sensor", batch=1)
    tick()
    project = work.server.owner().project("by sensor")
    assert project is not None
    task = next(iter(work.server.owner()._tasks(project.number, [], {})))
    for person in PEOPLE:
        path = f"/api/tasks/{task['id']}/annotations/"
        work.people[person]._json("POST", path, json={"result": choice("positive")})
    assert "3 annotations of 1 items" in tick()
    assert len(list((tmp_path / "tiny" / "annotations").iterdir())) == 1


def test_the_command_line_pushes_what_is_to_do(
    server: Server, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tiny(annotation={"label_studio": {"project": "by command"}})
    project.vertical(mine)
    monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", OWNER_TOKEN)
    done = project.command("label-studio", "push", "tiny")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "0 tasks added, 0 were there; materialize labeling_tasks to have more" in said
    monkeypatch.setenv("VERTICAL_DATA", str(project.root / "data"))
    (labels, decisions) = pull_all(VerticalSpec(**mine), server.owner())
    assert "by command: 0 annotations of 0 items" in labels
    assert "by command adjudication: 0 annotations of 0 items" in decisions
