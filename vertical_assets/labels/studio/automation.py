"""Automation of Label Studio: the server as a resource, and the sensor that keeps in step."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table

if TYPE_CHECKING:
    from vertical_assets.labels.studio.client import LabelStudio
    from vertical_assets.labels.studio.sync import Desk, Pushed

MINUTE = 60
# What a project on the server is made of, beside its tasks.
PROJECT = ["domain", "language", "task", "agreement.alpha", "annotation.label_studio"]
DEFAULT_URL = "http://127.0.0.1:8080"  # of `make label-studio`


class LabelStudioServer(dg.ConfigurableResource[None]):
    """The Label Studio server, for all verticals. Its variables are read when it is used, so that
    no token stands in a configuration that pages show.
    """

    url_variable: str = "LABEL_STUDIO_URL"
    token_variable: str = "LABEL_STUDIO_TOKEN"

    def client(self) -> "LabelStudio":
        """A client of the server.

        Raises:
            StudioError: there is no token.
        """
        from vertical_assets.labels.studio.client import WRONG_TOKEN, LabelStudio, StudioError

        token = os.environ.get(self.token_variable)
        if not token:
            raise StudioError(
                WRONG_TOKEN,
                f"{self.token_variable} is not set; copy a token from 'Account & Settings' of the "
                "Label Studio server",
            )
        return LabelStudio(os.environ.get(self.url_variable, DEFAULT_URL), token)


def label_studio_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Pushes what is to be labelled and decided, and pulls what people said, as batch files.

    What goes wrong raises an alert, at most one a day of its kind, and is tried again a minute
    later: the cursors move only when everything is on disk.
    """

    @dg.sensor(
        name=f"{spec.name}_label_studio",
        minimum_interval_seconds=MINUTE,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Keeps {spec.name} in step with its projects on the Label Studio server.",
    )
    def keep_in_step(
        context: dg.SensorEvaluationContext, label_studio: LabelStudioServer
    ) -> dg.SkipReason:
        from vertical_assets.alerts import alert
        from vertical_assets.labels.studio.client import StudioError

        pushed = json.loads(context.cursor or "{}")
        said: list[str] = []
        for name, desk, table in tables_to_push(spec):
            try:
                said.extend(in_step(spec, label_studio.client(), pushed, name, desk, table))
            except StudioError as error:
                alert(
                    f"label_studio_{error.kind}",
                    spec.name,
                    f"{error}; nothing is lost, it is tried again every minute",
                    key=f"label_studio {spec.name} {error.kind} {datetime.now(UTC).date()}",
                )
                said.append(str(error))
        context.update_cursor(json.dumps(pushed))
        return dg.SkipReason("; ".join(said) or "nothing new")

    return keep_in_step


def tables_to_push(spec: VerticalSpec) -> "list[tuple[str, Desk, Table | None]]":
    """Asset, the desk where its rows become tasks, and its current table."""
    from vertical_assets.labels.studio.sync import adjudication_desk, labelling_desk
    from vertical_assets.store.versions import current, store_root

    found: list[tuple[str, Desk, Table | None]] = []
    for name, desk in (
        ("labeling_tasks", labelling_desk(spec)),
        ("adjudication_queue", adjudication_desk(spec)),
    ):
        try:
            found.append((name, desk, Table((current(store_root() / spec.name / name),))))
        except FileNotFoundError:
            found.append((name, desk, None))
    return found


def in_step(
    spec: VerticalSpec,
    server: "LabelStudio",
    pushed: dict[str, str],
    name: str,
    desk: "Desk",
    table: Table | None,
) -> Iterator[str]:
    """Pulls from a desk; then pushes its table where that, or what the project is made of, is
    another than in `pushed`, which is updated.

    Yields:
        What was done, in words.
    """
    from vertical_assets.labels.studio.sync import pull, push

    if name in pushed:
        came = pull(server, spec, desk)
        if came.file is not None:
            yield f"{came.annotations} annotations of {came.tasks} items in {came.file.name}"
        if came.changed:
            yield f"changed: {', '.join(file.name for file in came.changed)}"
    if table is None:
        return
    state = f"{table.version} {spec.digest(PROJECT)}"
    if pushed.get(name) != state:
        rows = table.read().to_pylist()
        if rows or name in pushed:
            done = push(server, spec, desk, rows)
            yield (
                f"{done.added} tasks pushed to {desk.title!r}, {done.there} were there"
                f"{_unasked(done)}"
            )
            pushed[name] = state


def push_all(spec: VerticalSpec, server: "LabelStudio") -> Iterator[str]:
    """Brings both projects up to date; yields what was done, in words.

    Raises:
        StudioError: push again; no task comes twice.
        ValueError: the vertical has no project.
    """
    from vertical_assets.labels.studio.sync import push

    for name, desk, table in tables_to_push(spec):
        done = push(server, spec, desk, table.read().to_pylist() if table else [])
        yield (
            f"{desk.title} (project {done.project}): {done.added} tasks added, {done.there} were "
            f"there{_unasked(done)}{'' if table else f'; materialize {name} to have more'}"
        )


def _unasked(done: "Pushed") -> str:
    """Of question answering: what files ask, in which people write question and answer."""
    return f", {done.unasked} have no question and are in the files alone" if done.unasked else ""


def pull_all(spec: VerticalSpec, server: "LabelStudio") -> Iterator[str]:
    """Takes all that people have finished; yields what came, in words.

    Raises:
        StudioError: pull again; nothing is lost.
        ValueError: the vertical has no project.
    """
    from vertical_assets.labels.studio.sync import adjudication_desk, labelling_desk, pull

    for desk in (labelling_desk(spec), adjudication_desk(spec)):
        came = pull(server, spec, desk, least=1)
        yield (
            f"{desk.title}: {came.annotations} annotations of {came.tasks} items"
            + (f" in {came.file}" if came.file else "")
            + f"; {len(came.changed)} batches changed, {came.skipped} annotations skipped"
        )
