"""Automation: what is out of date and why, the jobs that mend it, and the sensor that looks.

The truth about staleness is Dagster's own (`CachingStaleStatusResolver`, the code behind the UI's
"unsynced"); it is asked here and nowhere else.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterEvent
from dagster._config import process_config
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleCause,
    StaleCauseCategory,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.partitions.partitioned_schedule import (
    UnresolvedPartitionedAssetScheduleDefinition,
)
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._time import get_current_datetime
from dagster_shared.error import SerializableErrorInfo

from vertical_assets.labels.batches.automation import PARTITIONED
from vertical_assets.release.engines import cores
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.io_managers import ALL_FILES, DATA_VERSION_TAG, recorded_failures

BEFORE_TRAINING = ("corpus", "labels")
# Assets with partitions -> the end of the name of the job that makes one.
JOB_OF = {
    "raw_corpus": "ingest",
    **dict.fromkeys(PARTITIONED, "annotate"),
    "monthly_review": "review",
}
PRELOADED = (
    "pyarrow.dataset",
    "vertical_assets.preloaded",
    "dagster_mlflow",
    "transformers.models.bert.modeling_bert",
    "vertical_assets.training.classification",
    "vertical_assets.training.pretraining",
)
NO_FILES = "none"  # version of files that were there before
OBSERVE_SECONDS = 60


@dataclass(frozen=True)
class Unsynced:
    """An asset (or one partition) that has to be materialized, and why."""

    key: dg.AssetKey
    partition: str | None
    missing: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FailedCheck:
    """A blocking check whose latest verdict on its asset's latest content is no."""

    key: dg.AssetKey
    name: str
    reason: str


def steps_at_once() -> int:
    """Heavy steps that run at a time: by VERTICAL_STEPS, else half the cores, since what takes long
    computes on several.

    Raises:
        ValueError: VERTICAL_STEPS is no whole number from 1 on.
    """
    given = os.environ.get("VERTICAL_STEPS") or str(max(1, cores() // 2))
    if not given.isdecimal() or given == "0":
        raise ValueError(f"VERTICAL_STEPS is {given!r}: set it to a whole number from 1 on")
    return int(given)


@dg.executor(name="by_weight", requirements=multiple_process_executor_requirements())
def by_weight(context: dg.InitExecutorContext) -> dg.Executor:
    """For every run, whatever assets were chosen: light ones one after the other in the run's own
    process; heavy ones in processes of their own, unless one at a time is all that the cores are
    good for. They are forked from a server that has loaded what they need, so that they start in a
    moment.
    """
    job = context.job.get_definition()
    chosen = getattr(context.job, "asset_selection", None) or job.asset_layer.executable_asset_keys
    groups = {job.asset_layer.get(key).group_name for key in chosen}
    many = steps_at_once()
    made, config = dg.in_process_executor, dict[str, Any]()
    if many > 1 and not groups <= set(BEFORE_TRAINING):
        start = {"forkserver": {"preload_modules": [*PRELOADED]}}
        made, config = dg.multiprocess_executor, {"max_concurrent": many, "start_method": start}
    evaluated = process_config(made.config_schema.config_type, config)
    create = made.executor_creation_fn
    if create is None or evaluated.value is None:
        raise dg.DagsterInvariantViolationError(f"{made.name} can't be made: {evaluated.errors}")
    return create(context._replace(executor_def=made, executor_config=evaluated.value))


def jobs(spec: VerticalSpec) -> list[UnresolvedAssetJobDefinition]:
    """`<vertical>_ingest` reads a source, `<vertical>_annotate` a batch of labels,
    `<vertical>_review` draws a month's review. `<vertical>_prepare` makes corpus and labels, in one
    process, since its steps are light; `<vertical>_build` makes everything.
    """
    raw, said, monthly = (
        dg.AssetSelection.assets(*([spec.name, name] for name in names))
        for names in (("raw_corpus",), PARTITIONED, ("monthly_review",))
    )
    rest = dg.AssetSelection.key_prefixes([spec.name]).materializable() - raw
    labelled = spec.task.kind != "generation"  # by somebody
    if labelled:
        rest -= said | monthly
    light = dg.AssetSelection.groups(*BEFORE_TRAINING)
    found = [
        dg.define_asset_job(
            f"{spec.name}_ingest",
            selection=raw,
            executor_def=dg.in_process_executor,
            description=f"Reads the sources of {spec.name} again.",
        ),
        dg.define_asset_job(
            f"{spec.name}_prepare",
            # What looks at a model comes after it.
            selection=(rest & light) - (rest - light).downstream(),
            executor_def=dg.in_process_executor,
            description=f"From the documents of {spec.name} to its labelled set.",
        ),
        dg.define_asset_job(
            f"{spec.name}_build",
            selection=rest,
            executor_def=by_weight,
            description=f"From the documents of {spec.name} to its release.",
        ),
    ]
    if labelled:
        found += [
            dg.define_asset_job(
                f"{spec.name}_annotate",
                selection=said,
                executor_def=dg.in_process_executor,
                description=f"Reads a batch of labels of {spec.name}.",
            ),
            dg.define_asset_job(
                f"{spec.name}_review",
                selection=monthly,
                executor_def=dg.in_process_executor,
                description=f"Draws a month's labels of {spec.name} for a second annotator.",
            ),
        ]
    return found


def schedules(
    spec: VerticalSpec,
) -> list[dg.ScheduleDefinition | UnresolvedPartitionedAssetScheduleDefinition]:
    """`<vertical>_monthly_review`: on the first of a month, the last one is reviewed (SPEC D8)."""
    if spec.task.kind == "generation":
        return []
    review = next(job for job in jobs(spec) if job.name == f"{spec.name}_review")
    return [
        dg.build_schedule_from_partitioned_job(
            review,
            name=f"{spec.name}_monthly_review",
            hour_of_day=3,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Every month a share of {spec.name}'s items goes to a second annotator.",
        )
    ]


def source_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Notices changed files of sources, verdicts, decisions, reviews and tasks, so that what they
    feed shows as unsynced; of labels see `labels.batches.automation`.
    """

    @dg.sensor(
        name=f"{spec.name}_sources",
        minimum_interval_seconds=OBSERVE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Records a new data version where files of {spec.name} changed.",
    )
    def sources(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        changed = list(observations(spec, context.instance))
        return (
            dg.SensorResult(asset_events=changed) if changed else dg.SkipReason("no file changed")
        )

    return sources


def observations(spec: VerticalSpec, instance: dg.DagsterInstance) -> Iterator[dg.AssetObservation]:
    """Observations of the watched files whose content is not the one last seen."""
    from vertical_assets.corpus.cleaning.segmentation import dictionary_fingerprint
    from vertical_assets.corpus.reading.sources import drop_folder, fingerprints
    from vertical_assets.corpus.review.verdicts import verdict_fingerprint
    from vertical_assets.evaluation.instruction.tasks import task_fingerprint
    from vertical_assets.labels.adjudication.decisions import decision_fingerprint
    from vertical_assets.labels.monthly.review import review_fingerprints
    from vertical_assets.release.promotion import approvals

    found: dict[tuple[dg.AssetKey, str], str | None] = {
        (dg.AssetKey([spec.name, "source_files"]), name): version
        for name, version in fingerprints(spec).items()
    }
    found[(dg.AssetKey([spec.name, "verdict_files"]), ALL_FILES)] = verdict_fingerprint(spec)
    if spec.dictionaries:
        found[(dg.AssetKey([spec.name, "dictionary_files"]), ALL_FILES)] = dictionary_fingerprint(
            spec.dictionaries, drop_folder(spec.name)
        )
    if spec.task.kind != "generation":
        found[(dg.AssetKey([spec.name, "decision_files"]), ALL_FILES)] = decision_fingerprint(spec)
    if spec.evaluate.instruction is not None:
        found[(dg.AssetKey([spec.name, "instruction_files"]), ALL_FILES)] = task_fingerprint(
            drop_folder(spec.name) / spec.evaluate.instruction.path
        )
    if spec.promote.approval == "required":
        file = drop_folder(spec.name) / approvals.FILE
        found[(dg.AssetKey([spec.name, "approvals"]), ALL_FILES)] = approvals.approvals_fingerprint(
            file
        )
    if spec.task.kind != "generation":
        months = review_fingerprints(spec.name).items()
        found |= {(dg.AssetKey([spec.name, "review_files"]), month): v for month, v in months}
    for (key, partition), version in found.items():
        record = instance.get_latest_data_version_record(
            key, is_source=True, partition_key=partition
        )
        seen = extract_data_version_from_entry(record.event_log_entry) if record else None
        if seen is None and version is None:
            continue  # no answers yet: what was never seen is no change
        if seen is None or seen.value != (version or NO_FILES):
            tags = {DATA_VERSION_TAG: version or NO_FILES}
            yield dg.AssetObservation(key, partition=partition, tags=tags)


def unsynced(
    graph: AssetGraph, instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> list[Unsynced]:
    """Which of the assets are missing or stale, in the order of the graph."""
    wanted, found = set(keys), []
    view = AssetGraphView(
        temporal_context=TemporalContext(effective_dt=get_current_datetime(), last_event_id=None),
        instance=instance,
        asset_graph=graph,
    )
    resolver = CachingStaleStatusResolver(instance, graph, view)
    resolver.instance_queryer.prefetch_asset_records(graph.toposorted_asset_keys)  # in one query
    for key in graph.toposorted_asset_keys:
        if key not in wanted:
            continue
        partitions = graph.get(key).partitions_def
        for partition in partition_keys(partitions, instance):
            status = resolver.get_status(key, partition)
            if status is StaleStatus.FRESH:
                continue
            causes = resolver.get_stale_causes(key, partition)
            missing = status is StaleStatus.MISSING
            reasons = ("never materialized",) if missing else tuple(map(_words, causes))
            found.append(Unsynced(key, partition, missing, reasons))
    return found


def partition_keys(
    partitions: dg.PartitionsDefinition | None, instance: dg.DagsterInstance
) -> list[str | None]:
    """Keys of an asset's partitions; one None where it has none."""
    if partitions is None:
        return [None]
    return list(partitions.get_partition_keys(dynamic_partitions_store=instance))


def _words(cause: StaleCause) -> str:
    if cause.dependency is not None:
        name = cause.dependency.asset_key.path[-1]
        part = f":{cause.dependency.partition_key}" if cause.dependency.partition_key else ""
        return f"{name}{part} {cause.reason.removeprefix('has a ').replace('dependency ', '')}"
    return (
        "configuration or code changed"
        if cause.category is StaleCauseCategory.CODE
        else cause.reason
    )


def failed_checks(
    graph: AssetGraph, instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]
) -> list[FailedCheck]:
    """Blocking checks of these assets whose latest evaluation failed as an error."""
    wanted = set(keys)
    checks = [
        key for key in graph.asset_check_keys if key.asset_key in wanted and graph.get(key).blocking
    ]
    parts = {key.asset_key: graph.get(key.asset_key).partitions_def for key in checks}
    return [
        FailedCheck(key.asset_key, key.name, reason)
        for key, reason in recorded_failures(instance, checks, parts).items()
    ]


def failure_of(event: DagsterEvent) -> str:
    """Why a step failed: the message that the asset raised, without Dagster's frame around it."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    return reason_of(data.error)


def reason_of(error: SerializableErrorInfo | None) -> str:
    """What was wrong at first, without what followed from it."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "for an unknown reason"
