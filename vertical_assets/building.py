"""Building: what is missing or unsynced is materialized, and nothing else, on the real instance.

The graph is walked from above: an asset runs once everything above it is settled, because a rebuild
that changes nothing clears what lies below. What is sure to run goes into one Dagster run together.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
from dagster import DagsterEventType
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator
from rich.markup import escape
from rich.progress import (
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table as Grid
from rich.text import Text

from vertical_assets.automation import (
    BEFORE_TRAINING,
    JOB_OF,
    Unsynced,
    failed_checks,
    failure_of,
    observations,
    partition_keys,
    reason_of,
    unsynced,
)
from vertical_assets.console import console
from vertical_assets.labels.batches.automation import register
from vertical_assets.launcher import HOST_TAG, PID_TAG, is_dead
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import store_root
from vertical_assets.store.io_managers import DATA_VERSION_TAG, NEEDS
from vertical_assets.store.versions import LOG, sweep
from vertical_assets.training.modules.assets import COLD_TAG

PID_VARIABLE = "VERTICAL_BUILD_PID"
BUILD_LOG = "data/build.log"
UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
Part = tuple[dg.AssetKey, str | None]


@dataclass
class Outcome:
    """What became of one asset or partition in this build."""

    why: str = ""
    state: str = "up to date"
    checks: dict[str, bool] = field(default_factory=dict)
    warnings: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Target:
    """The graph of one vertical on an instance."""

    spec: VerticalSpec
    graph: AssetGraph
    repository: ReconstructableRepository
    instance: dg.DagsterInstance

    @property
    def keys(self) -> list[dg.AssetKey]:
        """Materializable assets, from above to below."""
        return [
            key
            for key in self.graph.toposorted_asset_keys
            if key.path[0] == self.spec.name and self.graph.get(key).is_materializable
        ]

    @property
    def parts(self) -> list[Part]:
        """Assets, and partitions of partitioned ones."""
        return [(key, part) for key in self.keys for part in self.partitions(key)]

    def partitions(self, key: dg.AssetKey) -> list[str | None]:
        """Of months those that are materialized: a schedule begins them, a build keeps them up to
        date.
        """
        definition = self.graph.get(key).partitions_def
        if isinstance(definition, dg.TimeWindowPartitionsDefinition):
            return [*sorted(self.instance.get_materialized_partitions(key))]
        return partition_keys(definition, self.instance)

    def pending(self, *, tidy: bool = True) -> list[Unsynced]:
        """Notices changed files, then asks Dagster what is out of date; with `tidy` malformed files
        of labels are set aside.
        """
        if self.spec.task.kind != "generation":
            register(self.spec, self.instance, tidy=tidy)
        for observation in observations(self.spec, self.instance):
            self.instance.report_runless_asset_event(observation)
        parts = set(self.parts)
        found = unsynced(self.graph, self.instance, self.keys)
        return [item for item in found if (item.key, item.partition) in parts]

    def closed_gates(self) -> dict[dg.AssetKey, str]:
        """Assets whose blocking checks failed, with the reason in words."""
        return {
            check.key: f"{check.key.path[-1]}: check {check.name} failed: {check.reason}"
            for check in failed_checks(self.graph, self.instance, self.keys)
        }


def close_dead_runs(instance: dg.DagsterInstance) -> None:
    """Ends what a killed build left behind on this machine: its step processes, its runs (which
    would stay "started" for ever), their slots in pools, and half-written results.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            builder = process.environ().get(PID_VARIABLE)
            if builder and not psutil.pid_exists(int(builder)) and process.pid != os.getpid():
                process.kill()
                process.wait(10)
    running = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        if is_dead(run, instance):
            instance.report_run_failed(run, "The process that ran it was killed.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        else:
            running += 1
    if not running:
        sweep(store_root())


def run_build(target: Target, outcomes: dict[Part, Outcome], force: bool) -> list[str]:
    """Runs until nothing is left that may run; returns why assets were left out, in words."""
    forced: set[Part] | None = None
    failed: dict[dg.AssetKey, str] = {}
    while True:
        pending = {(item.key, item.partition): item.reasons for item in target.pending()}
        for part in target.parts:
            outcomes.setdefault(part, Outcome())
        if forced is None:  # batches of labels are known from the first look on
            forced = set(target.parts) if force else set()
        pending = dict.fromkeys(sorted(forced, key=name_of), ("asked for by --all",)) | pending
        # Built a moment ago and out of date again: building it once more would not help.
        for part in pending:
            if outcomes[part].seconds is not None:
                failed[part[0]] = f"{name_of(part)} is out of date again: {pending[part][0]}"
            outcomes[part].why = outcomes[part].why or "; ".join(pending[part])
        keys = {key for key, _ in pending}
        # The gate of an asset that is to be built will be judged anew.
        gates = {key: why for key, why in target.closed_gates().items() if key not in keys}
        closed = {**failed, **gates}  # a gate says why in words, its step only that it failed
        batch = next_batch(target, keys, set(closed))
        if not batch:
            for part in pending:
                if part[0] not in failed:
                    outcomes[part].state = "blocked"
            return list(dict.fromkeys(closed.values()))  # assets of one step fail together
        key, partition = next(part for part in pending if part[0] in batch)
        made_together = target.graph.get(key).execution_set_asset_keys
        chosen = sorted(batch if partition is None else made_together)
        # A run has one partition; those of an asset do not wait for each other.
        for each in dict.fromkeys(part for name, part in pending if name in made_together):
            forced -= {(name, each) for name in chosen}
            failed |= run_once(target, chosen, each, outcomes, cold=force)


def next_batch(
    target: Target, pending: set[dg.AssetKey], closed: set[dg.AssetKey]
) -> set[dg.AssetKey]:
    """Assets that are sure to run now: everything above each of them is settled or in the batch.

    An asset below a closed gate never is, unless the gate is above none of what it NEEDS. Assets
    that one step makes come together. Partitioned assets come alone, as soon as everything above
    them is settled, since a run has one partition; those of another step wait. Corpus and labels
    come before any training, and none begins while one of their gates is closed.
    """
    batch: set[dg.AssetKey] = set()
    partitioned: set[dg.AssetKey] = set()
    settled: set[dg.AssetKey] = set()
    below, late = set(closed), late_assets(target.graph)
    for key in target.graph.toposorted_asset_keys:
        node = target.graph.get(key)
        needs = _needed(node)
        if key in below or below & needs:
            below.add(key)
        elif key in pending and node.is_partitioned:
            if not partitioned and all(parent in settled for parent in needs):
                partitioned = set(node.execution_set_asset_keys)
        elif key in pending:
            if all(parent in batch | settled | below for parent in node.parent_keys):
                batch |= node.execution_set_asset_keys
        elif all(parent in settled for parent in needs):
            settled.add(key)
    if partitioned:
        return partitioned
    early = batch - late
    if early or closed - late:
        return early or {key for key in batch if below & target.graph.get(key).parent_keys}
    return batch


def late_assets(graph: AssetGraph) -> set[dg.AssetKey]:
    """Assets that come with training or after it: of its stages and those below, and what looks at
    their results, as what to label next.
    """
    late: set[dg.AssetKey] = set()
    for key in graph.toposorted_asset_keys:
        if graph.get(key).group_name not in BEFORE_TRAINING or late & graph.get(key).parent_keys:
            late.add(key)
    return late


def _needed(node: AssetNode) -> set[dg.AssetKey]:
    """Assets that another one can't be made without: all above it, or those that its tag names."""
    named = node.tags.get(NEEDS)
    return {key for key in node.parent_keys if named in (None, key.path[-1])}


def run_once(
    target: Target,
    keys: list[dg.AssetKey],
    partition: str | None,
    outcomes: dict[Part, Outcome],
    *,
    cold: bool = False,
) -> dict[dg.AssetKey, str]:
    """One Dagster run; fills in the outcomes, returns the steps that failed and why. With `cold` no
    training goes on from a checkpoint.
    """
    suffix = JOB_OF[keys[0].path[-1]] if partition is not None else "build"
    if partition is None and not late_assets(target.graph) & set(keys):
        suffix = "prepare"
    job = target.repository.get_reconstructable_job(f"{target.spec.name}_{suffix}")
    run = target.instance.create_run_for_job(
        job_def=job.get_definition(),
        job_code_origin=job.get_python_origin(),
        asset_selection=frozenset(keys),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={
            PID_TAG: str(os.getpid()),
            "dagster/max_retries": "0",  # the next build is the retry
            HOST_TAG: socket.gethostname(),
            **({COLD_TAG: "true"} if cold else {}),
            **({"dagster/partition": partition} if partition else {}),
        },
    )
    before = {key: version_of(target.instance, key, partition) for key in keys}
    failed: dict[dg.AssetKey, str] = {}
    made_by: dict[str, list[dg.AssetKey]] = {}
    for key in keys:
        made_by.setdefault(target.graph.get(key).assets_def.node_def.name, []).append(key)
    refused: set[dg.AssetKey] = set()  # by a gate: made, but nothing may follow
    began: dict[str, float] = {}
    broken = "a run ended before its steps did"
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TrainingColumn(),
    )
    with (
        diverted_output(),
        Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress,
    ):
        tasks: dict[str, TaskID] = {}
        for event in execute_run_iterator(job, run, target.instance):
            step = event.step_key or ""
            if event.event_type is DagsterEventType.STEP_WORKER_STARTED or step not in began:
                began[step] = time.time()
            if event.event_type is DagsterEventType.STEP_START:
                shown = step.replace("__", "/") + (f" {partition}" if partition else "")
                tasks[step] = progress.add_task(shown, vertical=target.spec.name)
            elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
                outcome = outcomes[(event.asset_key, partition)]
                now = version_of(target.instance, event.asset_key, partition)
                outcome.state = "same content" if now == before[event.asset_key] else "built"
                outcome.seconds = time.time() - began[step]
            elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
                found = event.asset_check_evaluation_data
                outcome = outcomes[(found.asset_key, partition)]
                outcome.checks[found.check_name] = found.passed
                if not found.passed:
                    if found.blocking and found.severity is dg.AssetCheckSeverity.ERROR:
                        refused.add(found.asset_key)
                    colour = "red" if found.severity is dg.AssetCheckSeverity.ERROR else "yellow"
                    outcome.warnings += colour == "yellow"
                    verdict = f"{found.asset_key.path[-1]}: check {found.check_name}"
                    progress.console.print(
                        f"[{colour}]{verdict}[/{colour}]: {escape(found.description or '')}",
                        highlight=False,
                    )
            elif event.event_type is DagsterEventType.STEP_FAILURE:
                made = made_by.get(step, keys[:1])
                stopped = [key for key in made if key in refused] or made
                own = [key for key in stopped if step.endswith(f"__{key.path[-1]}")]
                named = name_of(((own or stopped)[0], partition))
                why = f"{named} failed: {failure_of(event)}"
                for key in stopped:
                    failed[key] = why
                    outcomes[(key, partition)].state = "failed"
            elif event.event_type is DagsterEventType.RESOURCE_INIT_FAILURE:
                broken = f"{event.message} {reason_of(event.engine_event_data.error)}"
            if event.event_type in (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE):
                if step in tasks:
                    progress.remove_task(tasks.pop(step))
                verb = "done" if event.event_type is DagsterEventType.STEP_SUCCESS else "failed"
                took = time.time() - began[step]
                shown = step.replace("__", "/") + (f" {partition}" if partition else "")
                progress.console.print(f"{shown} {verb} in {took:.1f} s")
    if not failed:  # a run that ended before its steps did
        for key in keys:
            outcome = outcomes[(key, partition)]
            if outcome.seconds is None:
                failed[key] = broken
                outcome.state = "failed"
    return failed


@contextlib.contextmanager
def diverted_output() -> Iterator[None]:
    """Sends what steps and libraries print to BUILD_LOG, so that progress can be read; Dagster
    keeps each step's own output too.
    """
    Path(BUILD_LOG).parent.mkdir(parents=True, exist_ok=True)
    own = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    with Path(BUILD_LOG).open("a") as log:
        for descriptor in own:
            os.dup2(log.fileno(), descriptor)
        try:
            yield
        finally:
            for descriptor, copy in own.items():
                os.dup2(copy, descriptor)
                os.close(copy)


def version_of(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> str | None:
    """Current data version of an asset or partition."""
    record = instance.get_latest_data_version_record(key, is_source=False, partition_key=partition)
    tags = record.event_log_entry.tags if record else None
    return tags.get(DATA_VERSION_TAG) if tags else None


class TrainingColumn(ProgressColumn):
    """The last line of a running training's log: step and loss."""

    max_refresh = 1.0

    def render(self, task: Task) -> Text:
        asset = task.description.rpartition("/")[2]
        folder = (
            Path(os.environ.get("VERTICAL_WORK", "data/work")) / task.fields["vertical"] / asset
        )
        for log in folder.glob(f"*/{LOG}"):
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - 400))
                lines = file.read().decode(errors="ignore").splitlines()
            if lines:
                return Text(lines[-1].strip("{}").replace('"', "")[:90])
        return Text("")


def name_of(part: Part) -> str:
    key, partition = part
    return f"{key.path[-1]}:{partition}" if partition else key.path[-1]


def outcome_table(target: Target, outcomes: dict[Part, Outcome]) -> Grid:
    """What the build did: asset, state, why, checks, seconds."""
    grid = Grid("asset", "state", "why", "checks", "seconds", title=target.spec.name)
    for part, outcome in outcomes.items():
        passed = sum(outcome.checks.values())
        checks = f"{passed}/{len(outcome.checks)}" if outcome.checks else ""
        if outcome.warnings:
            checks += f", {outcome.warnings} warned"
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        grid.add_row(name_of(part), outcome.state, outcome.why, checks, seconds)
    return grid
