"""Alerting: what went wrong in Dagster becomes an alert: checks that fail, runs that fail, sensors
and schedules whose ticks fail. Who decides on a release raises its own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import xxhash
from dagster import DagsterEventType, DagsterRun
from dagster._core.scheduler.instigation import InstigatorType, TickStatus

from vertical_assets.alerts import alert, resend
from vertical_assets.automation import failure_of
from vertical_assets.spec import VerticalSpec

# What a vertical's jobs, sensors and schedules are called, behind its name.
OWN = {
    *("ingest", "annotate", "review", "prepare", "build"),
    *("sources", "alerts", "batches", "answers", "loop", "label_studio", "monthly_review"),
}
OVERLAP = 120  # seconds that a look goes back behind the last one: clocks and slow writes
RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Alarm:
    """What `alerts.alert` is told."""

    kind: str
    message: str
    key: str
    facts: dict[str, Any] = field(default_factory=dict)


def alert_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Raises the alerts of one vertical; the cursor is the times of its first and its last look.

    What happened before its first look is history and raises nothing.
    """

    @dg.sensor(
        name=f"{spec.name}_alerts",
        minimum_interval_seconds=spec.automate.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Alerts where checks, runs, sensors or schedules of {spec.name} fail.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(UTC).timestamp()
        seen = json.loads(context.cursor) if context.cursor else {"first": now, "last": now}
        since = max(seen["first"], seen["last"] - OVERLAP)
        found = list(alarms(spec.name, context.instance, since))
        resend()
        for alarm in found:
            alert(alarm.kind, spec.name, alarm.message, key=alarm.key, **alarm.facts)
        context.update_cursor(json.dumps({**seen, "last": now}))
        return dg.SkipReason(f"{len(found)} alarms" if found else "nothing failed")

    return alerts


def alarms(vertical: str, instance: dg.DagsterInstance, since: float) -> Iterator[Alarm]:
    """What failed in a vertical.

    Args:
        vertical: its name.
        instance: where its runs are recorded.
        since: seconds since the epoch; runs that ended and ticks that began before are passed over.
    """
    after = datetime.fromtimestamp(since, UTC)
    runs = {
        run.run_id: run
        for chosen in (
            dg.RunsFilter(statuses=RUNNING),
            dg.RunsFilter(statuses=ENDED, updated_after=after),
        )
        for run in instance.get_runs(chosen)
        if belongs(run, vertical)
    }
    for run in runs.values():
        yield from _failed_evaluations(run, instance, vertical)
        if run.status is dg.DagsterRunStatus.FAILURE:
            yield _failed_run(run, instance)
    yield from _failed_ticks(vertical, instance, since)


def belongs(run: DagsterRun, vertical: str) -> bool:
    """Whether a run makes assets of the vertical."""
    keys = run.asset_selection or ()
    return any(key.path[0] == vertical for key in keys) or (
        not keys and is_named_after(vertical, run.job_name)
    )


def is_named_after(vertical: str, name: str) -> bool:
    """Whether a job, sensor or schedule is a vertical's; `a_b_build` is of `a_b`, not of `a`."""
    return name.startswith(f"{vertical}_") and name.removeprefix(f"{vertical}_") in OWN


def _failed_evaluations(
    run: DagsterRun, instance: dg.DagsterInstance, vertical: str
) -> Iterator[Alarm]:
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
        if entry.dagster_event is None:
            continue
        found = entry.dagster_event.asset_check_evaluation_data
        if found.passed or found.asset_key.path[0] != vertical:
            continue
        is_error = found.severity is dg.AssetCheckSeverity.ERROR
        asset, partition = found.asset_key.path[-1], run.tags.get("dagster/partition")
        where = f"{asset}:{partition}" if partition else asset
        # A batch that stays refused warns in every run: in the same words once a day is enough.
        day = datetime.fromtimestamp(entry.timestamp, UTC).date()
        words = xxhash.xxh3_64_hexdigest((found.description or "").encode())
        once = run.run_id if is_error else f"{words}:{day}"
        yield Alarm(
            "check_failed" if is_error else "check_warned",
            f"{where}: check {found.check_name} "
            f"{'failed' if is_error else 'warns'}: {found.description or 'without a reason'}",
            f"check:{vertical}/{where}:{found.check_name}:{once}",
            {
                "asset": asset,
                "partition": partition,
                "check": found.check_name,
                "reason": found.description,
                "run_id": run.run_id,
            },
        )


def _failed_run(run: DagsterRun, instance: dg.DagsterInstance) -> Alarm:
    steps = [
        f"{entry.step_key}: {failure_of(entry.dagster_event)}"
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)
        if entry.dagster_event is not None
    ]
    ends = [
        entry.dagster_event.message or ""
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
        if entry.dagster_event is not None
    ]
    reason = next(iter([*steps, *ends]), "for an unknown reason")
    retried = run.tags.get("dagster/will_retry") == "true"
    assets = sorted(key.path[-1] for key in run.asset_selection or ())
    return Alarm(
        "run_failed",
        f"the run of {', '.join(assets) or run.job_name} failed"
        f"{' and is tried again' if retried else ''}: {reason[:500]}",
        f"run:{run.run_id}",
        {
            "asset": ", ".join(assets),
            "reason": reason[:2000],
            "run_id": run.run_id,
            "retried": retried,
        },
    )


def _failed_ticks(vertical: str, instance: dg.DagsterInstance, since: float) -> Iterator[Alarm]:
    """Of every row of failed ticks one: a schedule's first, and a sensor's second, since a sensor
    looks again soon, and a server that was busy for a moment is no alarm.
    """
    for state in instance.all_instigator_state():
        if not is_named_after(vertical, state.instigator_name):
            continue
        ticks = instance.get_ticks(
            state.instigator_origin_id,
            state.selector_id,
            after=since,
            limit=50,
            statuses=[TickStatus.FAILURE],
        )
        for tick in ticks:
            kind = state.instigator_type.value.lower()
            told = 2 if state.instigator_type is InstigatorType.SENSOR else 1
            if (tick.consecutive_failure_count or 1) != told:
                continue
            reason = tick.error.message.strip() if tick.error else "for an unknown reason"
            yield Alarm(
                f"{kind}_failed",
                f"{kind} {state.instigator_name} failed: {reason[:500]}",
                f"tick:{state.instigator_name}:{tick.timestamp}",
                {"sensor": state.instigator_name, "reason": reason[:2000]},
            )
