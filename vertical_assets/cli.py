"""The command line: building verticals, looking into them, and choosing what is served.

It works on the same Dagster instance as the UI. Light: what a command needs, it imports itself.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table as Grid

from vertical_assets.console import console
from vertical_assets.project import enter_project, open_targets
from vertical_assets.release_commands import approve, refuse, releases, rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vertical_assets.building import Outcome, Part, Target
    from vertical_assets.labels.studio.client import LabelStudio
    from vertical_assets.spec import VerticalSpec
    from vertical_assets.trace import Step


@click.group()
def main() -> None:
    """Builds domain language models from raw text, as Dagster assets."""


for command in (releases, approve, refuse, rollback):
    main.add_command(command)


@main.command()
@click.argument("vertical")
@click.option("--all", "force", is_flag=True, help="Materialize everything, in sync or not.")
def build(vertical: str, force: bool) -> None:
    """Materialize what is missing or out of date in VERTICAL; exit status 1 if it stops early."""
    from vertical_assets.building import BUILD_LOG, close_dead_runs, outcome_table, run_build
    from vertical_assets.conditions import building_folder
    from vertical_assets.corpus.reading.sources import drop_folder
    from vertical_assets.labels.batches.arrivals import unsettled
    from vertical_assets.store import store_root, tombstones
    from vertical_assets.store.atomic import is_locked, locked
    from vertical_assets.store.versions import purge

    started = time.monotonic()
    target = open_targets(vertical)[0]
    close_dead_runs(target.instance)
    outcomes: dict[Part, Outcome] = {}
    for key in unsettled(target.spec):
        console.print(f"labels of batch {key} are still being written, left for the next build")
    at_work = building_folder(vertical)
    at_work.mkdir(parents=True, exist_ok=True)
    if is_locked(at_work):
        console.print(f"another build of {vertical} is at work; this one waits for it")
    with locked(at_work):  # the loop waits as well
        problems = run_build(target, outcomes, force)
        gone = tombstones.read(drop_folder(vertical) / tombstones.FILE).entries
        if target.spec.sensitive or gone:
            purge(store_root() / vertical)
    console.print(outcome_table(target, outcomes))
    for problem in problems:
        console.print(f"[red]stopped:[/red] {escape(problem)}", highlight=False)
    if problems:
        console.print(f"What the steps wrote is in {BUILD_LOG} and on their run's page in the UI.")
        sys.exit(1)
    count = sum(outcome.seconds is not None for outcome in outcomes.values())
    took = time.monotonic() - started
    console.print(
        f"{vertical}: {count} of {len(outcomes)} materialized in {took:.0f} s."
        if count
        else f"{vertical}: everything is up to date, nothing was materialized."
    )


@main.command()
@click.argument("vertical", required=False)
def status(vertical: str | None) -> None:
    """Say what is out of date, and why, in VERTICAL or in all of them."""
    from vertical_assets.building import name_of

    for target in open_targets(vertical):
        pending = {(item.key, item.partition): item for item in target.pending(tidy=False)}
        gates = target.closed_gates()
        grid = Grid("asset", "state", "why", title=target.spec.name, title_justify="left")
        for part in target.parts:
            item = pending.get(part)
            state = "in sync" if item is None else "missing" if item.missing else "unsynced"
            why = gates.get(part[0], "; ".join(item.reasons) if item else "")
            grid.add_row(name_of(part), state, why)
        console.print(grid)


@main.command()
@click.argument("doc_id")
def trace(doc_id: str) -> None:
    """Print every step that document DOC_ID took: source file and line, what was replaced, its
    cluster, split and labels, and the models that saw it; exit status 1 if nothing knows it.
    """
    found = False
    for target in open_targets():
        for step in steps_of(target, doc_id):
            found = True
            console.print(f"[bold]{target.spec.name}/{step.asset}[/bold]", highlight=False)
            for name, value in step.found.items():
                if value is not None:
                    console.print(f"  {name}: {escape(str(value))}", highlight=False)
    if not found:
        raise click.ClickException(f"no table of any vertical has a document {doc_id!r}")


@main.command()
@click.argument("doc_id")
@click.option("--reason", default=None, help="Kept with the tombstone, e.g. the request's number.")
def forget(doc_id: str, reason: str | None) -> None:
    """Remove document DOC_ID: the next build of its vertical contains nothing of it."""
    from vertical_assets.corpus.reading.sources import document_id, drop_folder
    from vertical_assets.store import tombstones

    for target in open_targets():
        for step in steps_of(target, doc_id):
            if step.asset.startswith("raw_corpus"):
                name, row = target.spec.name, step.found
                file = drop_folder(name) / tombstones.FILE
                # Without an id of its own a document is known by its text: lines move.
                by_place = doc_id == document_id(row["source"], row["origin"])
                text = row["text"] if by_place else None
                tombstones.add(file, doc_id, row["source"], text=text, reason=reason)
                console.print(f"{file}: {doc_id} of source {row['source']} is to be forgotten.")
                console.print(f"Now run: vertical-assets build {name}")
                return
    raise click.ClickException(f"no source of any vertical has a document {doc_id!r}")


@main.command()
@click.argument("vertical")
@click.option(
    "--switch",
    "switches",
    multiple=True,
    default=["all"],
    help="What is switched off and on, e.g. augmentation; may be given again. All by default.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Of the training items and of pretraining, to bound the cost; 1 by default.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Of fine-tuning, for all variants; the vertical's own by default.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The table's Parquet file.")
def ablate(
    vertical: str, switches: tuple[str, ...], share: float, epochs: int | None, out: Path | None
) -> None:
    """Train VERTICAL's model with and without a part of it, and print what each part is worth.

    Reads the vertical's current labelled set and corpus; its own results stay as they are.
    """
    import tempfile

    import pyarrow as pa
    import pyarrow.parquet as pq
    from upath import UPath

    from vertical_assets.corpus.reading.sources import SourceError, drop_folder, work_folder
    from vertical_assets.evaluation import ablation
    from vertical_assets.store import Table, store_root
    from vertical_assets.store.atomic import replace
    from vertical_assets.store.versions import current, local_directory

    known = list(ablation.SWITCHES)
    if unknown := sorted(set(switches) - {"all", *known}):
        raise click.ClickException(
            f"there is no switch {unknown[0]!r}; there are: all, {', '.join(known)}"
        )
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # a new head is meant, not a mistake
    spec = open_targets(vertical)[0].spec
    folder = store_root() / vertical
    work = work_folder(vertical)
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        columns = ["doc_id", "text", "meta", "cluster_id"]
        inputs = ablation.Inputs(
            labeled=Table((current(folder / "labeled_set"),)).read(),
            corpus=Table((current(folder / "dedup_corpus"),)).read(columns),
            pretrained=local_directory(current(folder / "pretrained_ckpt")),
            data=drop_folder(vertical),
        )
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            chosen = ablation.applicable(spec) if "all" in switches else switches
            for row in ablation.ablate(spec, chosen, inputs, Path(scratch), share, epochs):
                console.print(
                    f"{row['switch']}, {row['variant']}: test macro F1 {row['test_f1_macro']:.4f}, "
                    f"trained in {row['seconds']:.0f} s"
                )
                rows.append(row)
    except (FileNotFoundError, SourceError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    grid = Grid(*ablation.ABLATION.names, title=vertical, title_justify="left")
    for row in rows:
        grid.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(grid)
    file = out or ablation.ablations_file(vertical)
    file.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, ablation.ABLATION), sink)
    replace(UPath(file), sink.getvalue().to_pybytes())
    console.print(f"The table is in {file}.")
    if out is None:
        console.print("The page of eval_report shows it when that is next materialized.")


@main.group()
def keys() -> None:
    """The keys that encrypt the tables of sensitive verticals (SPEC X2)."""


@keys.command()
def create() -> None:
    """Make the first key. Keep a copy of its file in another place."""
    from vertical_assets.store.keys import EncryptionKeyError, create_key, key_file

    enter_project()
    try:
        made = create_key()
    except EncryptionKeyError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"key {made} is in {key_file()}; keep a copy in another place")


@keys.command()
@click.option("--drop-retired", is_flag=True, help="Remove keys that no table needs any more.")
def rotate(drop_retired: bool) -> None:
    """Make a new key and seal every table's data key with it; may be killed and run again."""
    from vertical_assets.store import store_root
    from vertical_assets.store.encryption import key_status
    from vertical_assets.store.encryption import rotate as rotate_keys
    from vertical_assets.store.keys import EncryptionKeyError

    enter_project()
    try:
        done = rotate_keys(store_root(), drop_retired=drop_retired)
        states = key_status(store_root())
    except EncryptionKeyError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"{done.rewrapped} table versions sealed anew, {done.unchanged} were already")
    grid = Grid("key", "current", "from", "created", "tables")
    for state in states:
        current = "yes" if state.current else ""
        made = state.created_at or ""
        grid.add_row(state.key_id, current, state.origin, made, str(state.tables))
    console.print(grid)


@main.group("label-studio")
def label_studio() -> None:
    """Tasks to the Label Studio server, and what people said back (SPEC D7)."""


@label_studio.command("push")
@click.argument("vertical")
def push_tasks(vertical: str) -> None:
    """Create VERTICAL's projects from the label standard, or update them; add what is to do."""
    from vertical_assets.labels.studio.automation import push_all

    _at_the_server(vertical, push_all)


@label_studio.command("pull")
@click.argument("vertical")
def pull_annotations(vertical: str) -> None:
    """Take what people said in VERTICAL's projects, as files in its drop folder."""
    from vertical_assets.labels.studio.automation import pull_all

    _at_the_server(vertical, pull_all)


def _at_the_server(
    vertical: str, work: "Callable[[VerticalSpec, LabelStudio], Iterable[str]]"
) -> None:
    """Says what was done, or ends with what is wrong."""
    from vertical_assets.labels.studio.automation import LabelStudioServer
    from vertical_assets.labels.studio.client import StudioError

    try:
        for line in work(open_targets(vertical)[0].spec, LabelStudioServer().client()):
            console.print(line)
    except (StudioError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def steps_of(target: "Target", doc_id: str) -> list["Step"]:
    """The document's trace in one vertical."""
    from vertical_assets.store import store_root
    from vertical_assets.store.encryption import DecryptionError
    from vertical_assets.store.keys import EncryptionKeyError
    from vertical_assets.trace import trace

    order = [key.path[-1] for key in target.keys]
    try:
        return trace(store_root() / target.spec.name, doc_id, order)
    except (EncryptionKeyError, DecryptionError) as error:
        raise click.ClickException(str(error)) from error
