"""The closed loop: named conditions by which Dagster makes assets anew, with nobody's help (SPEC
C5, O3, T12).

All of them are levels, not edges: they compare what an asset was made from with what is there now,
which the instance records, so that a daemon that was killed, or was off while a file arrived, comes
to the same decision later. Each state of the inputs is asked for once: what fails is not tried
again every half minute, and what a person cancelled stays cancelled, until something changes. (Runs
whose process died are another matter: Dagster's run retries take them up.)

Configuration and code move light assets only; a changed `finetune` section waits for a person and
`vertical-assets build`, since training is dear.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster import AutomationCondition as When
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import (
    CachingStaleStatusResolver,
    StaleCauseCategory,
    StaleStatus,
    extract_data_version_from_entry,
)
from dagster._core.definitions.declarative_automation.automation_context import AutomationContext
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from upath import UPath

from vertical_assets.alerting import belongs
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.atomic import is_locked
from vertical_assets.store.io_managers import recorded_failures

LABELS = "labels"
MODEL = ("features", "training", "evaluation", "release")
BELOW = ("training", "evaluation", "release")
MOST_QUIET = 10  # times the quiet period, after which labels that keep coming are trained on
RETRIED_SECONDS = 600  # within which the daemon starts the retry of a run whose process died
LOOP_TAG = "vertical_assets/loop"
IN_PROGRESS = [
    *IN_PROGRESS_RUN_STATUSES,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def when_labels_change(
    watched: Sequence[str] = (LABELS,), awaited: Sequence[str] = (LABELS,)
) -> dg.AutomationCondition[dg.AssetKey]:
    """For what is light and made of labels: agreement, verdicts, queue, labelled set, next tasks.

    It follows data and code at once, so that people see the agreement of a batch soon after they
    dropped it; what is requested above it comes along in the same run, whose blocking checks stop
    it. It waits while a batch is being read, which makes one run of five batches. An asset that was
    never made comes as soon as all above it is there: it costs seconds.

    Args:
        watched: groups of the inputs that count.
        awaited: groups of which no run may be at work. `labeled_set` is not replaced under a
            training and its evaluation, which would read one version above and another below.
    """
    return (
        (Outdated(tuple(watched), code=True, absent=True) | requested_above(LABELS))
        & Made()
        & ~GateClosed()
        & ~Busy(tuple(awaited))
    ).with_label("when_labels_change")


def retrain(quiet: int) -> dg.AutomationCondition[dg.AssetKey]:
    """For `finetuned_ckpt`, the features that it reads and the baselines beside it.

    It follows the labels' data version only: a labelled set that was made again with the same
    content trains nothing, nor does a new base model or configuration. It waits until the labels
    are in order (no gate is closed, nothing of the vertical is running or about to) and have rested
    for `quiet` seconds: batches that arrive one after the other, or during a training, make one
    training after them. It costs a single batch these seconds. Labels that never rest are trained
    on after ten times as long. What was never trained does not begin by itself: the first time is
    a person's decision, `vertical-assets build`.
    """
    return (
        Outdated((LABELS, "features"))
        & Made()
        & ~GateClosed()
        & ~Busy((LABELS, *MODEL))
        & ~requested_above(LABELS)
        & Settled(quiet)
    ).with_label("retrain")


def follow() -> dg.AutomationCondition[dg.AssetKey]:
    """For what is below `finetuned_ckpt`: it comes in the run that trains, whose blocking checks
    stop it; or after it, where a model was trained by hand or a run broke off. New labels alone do
    not move it: the old model would be measured again for nothing.
    """
    return (
        (requested_above(*MODEL) | (Outdated(BELOW, absent=True) & ~Busy(MODEL)))
        & Made()
        & ~GateClosed()
    ).with_label("follow")


def requested_above(*groups: str) -> dg.AutomationCondition[dg.AssetKey]:
    """Whether something of these groups that the asset is made of is requested in this tick."""
    return When.any_deps_match(When.will_be_requested()).allow(dg.AssetSelection.groups(*groups))


class Condition(dg.AutomationCondition[dg.AssetKey]):
    """A condition of a whole asset, without partitions."""

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        return self.result(context, self.holds(context))

    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        """Whether it is true now."""
        raise NotImplementedError

    def result(
        self, context: AutomationContext[dg.AssetKey], holds: bool, cursor: str | None = None
    ) -> dg.AutomationResult[dg.AssetKey]:
        whole = context.candidate_subset if holds else context.get_empty_subset()
        return dg.AutomationResult(context, whole, cursor=cursor)


@dataclass(frozen=True)
class Outdated(Condition):
    """True where what the asset was last made from is not what is there now; once for each state.

    Attributes:
        groups: of the inputs that count; the truth about them is Dagster's own, as in `status`.
        code: whether code and configuration count as well.
        absent: whether an asset that was never made is outdated.
    """

    groups: tuple[str, ...]
    code: bool = False
    absent: bool = False

    @property
    def name(self) -> str:
        return f"outdated({', '.join(self.groups)}{', code' if self.code else ''})"

    @property
    def description(self) -> str:
        return "Made from other versions than there are now"

    @property
    def requires_cursor(self) -> bool:
        return True

    def evaluate(self, context: AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        state = self.state(context)
        before = json.loads(context.cursor or "{}")
        requested = context.get_previous_requested_subset(context.key)
        was_requested = requested is not None and not requested.is_empty
        asked = before.get("state") if was_requested else before.get("asked")
        cursor = json.dumps({"state": state, "asked": asked})
        return self.result(context, state is not None and state != asked, cursor)

    def state(self, context: AutomationContext[dg.AssetKey]) -> str | None:
        """What is there now of the inputs that changed; None where nothing did."""
        graph, key, view = context.asset_graph, context.key, context.asset_graph_view
        resolver = CachingStaleStatusResolver(view.instance, graph, view)
        found: dict[str, str | None] = {}
        if resolver.get_status(key) is StaleStatus.MISSING:
            if not self.absent:
                return None
            parents = [
                parent for parent in graph.get(key).parent_keys if self.counts(graph, parent)
            ]
            changed = [(parent, part) for parent in parents for part in parts_of(graph, parent)]
        else:
            causes = resolver.get_stale_causes(key)
            if self.code and any(cause.category is StaleCauseCategory.CODE for cause in causes):
                found["code"] = str(graph.get(key).code_version)
            above = [cause.dependency for cause in causes if cause.dependency is not None]
            changed = [
                (dep.asset_key, dep.partition_key)
                for dep in above
                if self.counts(graph, dep.asset_key)
            ]
        for parent, part in changed:
            record = view.instance.get_latest_data_version_record(
                parent, is_source=graph.get(parent).is_external, partition_key=part
            )
            version = extract_data_version_from_entry(record.event_log_entry) if record else None
            found[f"{parent.to_user_string()}:{part or ''}"] = version.value if version else None
        return json.dumps(found, sort_keys=True) if changed or found else None

    def counts(self, graph: BaseAssetGraph[Any], key: dg.AssetKey) -> bool:
        """Whether an input is of the groups."""
        return graph.has(key) and graph.get(key).group_name in self.groups


def parts_of(graph: BaseAssetGraph[Any], key: dg.AssetKey) -> list[str | None]:
    """What of an input has a version of its own; of growing partitions others tell, e.g. `batches`
    of `annotations`.
    """
    partitions = graph.get(key).partitions_def
    if partitions is None:
        return [None]
    is_fixed = isinstance(partitions, dg.StaticPartitionsDefinition)
    return list(partitions.get_partition_keys()) if is_fixed else []


@dataclass(frozen=True)
class Busy(Condition):
    """True while a run makes assets of these groups of the vertical, waits to, or is about to be
    tried again, and while `vertical-assets build` is at work on it.
    """

    groups: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"busy({', '.join(self.groups)})"

    @property
    def description(self) -> str:
        return "A run or a build is at work on these groups"

    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        vertical, graph = context.key.path[0], context.asset_graph
        instance = context.asset_graph_view.instance
        if is_locked(building_folder(vertical)):
            return True
        wanted = {
            key
            for key in graph.materializable_asset_keys
            if key.path[0] == vertical and graph.get(key).group_name in self.groups
        }
        return any(
            belongs(run, vertical) and (not run.asset_selection or run.asset_selection & wanted)
            for run in open_runs(instance)
        )


def open_runs(instance: dg.DagsterInstance) -> Iterable[dg.DagsterRun]:
    """Runs that are not over, and failed ones that the daemon is about to try again."""
    yield from instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
    lately = datetime.now(UTC) - timedelta(seconds=RETRIED_SECONDS)
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={"dagster/will_retry": "true"},
        updated_after=lately,
    )
    for run in instance.get_runs(failed):
        if "dagster/auto_retry_run_id" not in run.tags:
            yield run


@dataclass(frozen=True)
class Made(Condition):
    """True where all inputs were made once, or are in this tick. Partitions and files are left out:
    one batch that can't be read holds up no other.
    """

    @property
    def name(self) -> str:
        return "inputs_made"

    @property
    def description(self) -> str:
        return "Everything above was made once"

    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        graph, instance = context.asset_graph, context.asset_graph_view.instance
        return all(
            is_requested(context, parent)
            or instance.get_latest_materialization_event(parent) is not None
            for parent in graph.get(context.key).parent_keys
            if graph.get(parent).is_materializable and not graph.get(parent).is_partitioned
        )


def is_requested(context: AutomationContext[dg.AssetKey], key: dg.AssetKey) -> bool:
    """Whether an asset is requested in this tick."""
    requested = context.request_subsets_by_key.get(key)
    return requested is not None and not requested.is_empty


@dataclass(frozen=True)
class GateClosed(Condition):
    """True where a blocking check anywhere above failed, in whichever run; not where what it judged
    is made anew in this tick: the run's own checks decide then.
    """

    @property
    def name(self) -> str:
        return "gate_closed"

    @property
    def description(self) -> str:
        return "A blocking check above failed"

    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        graph = context.asset_graph
        checks = [
            check
            for parent in graph.get_ancestor_asset_keys(context.key)
            if not is_requested(context, parent)
            for check in graph.get(parent).check_keys
            if graph.get(check).blocking
        ]
        return bool(recorded_failures(context.asset_graph_view.instance, checks))


@dataclass(frozen=True)
class Settled(Condition):
    """True where the labels have not moved for `quiet` seconds, or have moved for ten times as long
    since the last training.
    """

    quiet: int

    @property
    def name(self) -> str:
        return f"settled({self.quiet} s)"

    @property
    def description(self) -> str:
        return "The labels have rested"

    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        vertical, instance = context.key.path[0], context.asset_graph_view.instance
        now = context.evaluation_time.timestamp()
        labels = dg.AssetKey([vertical, "labeled_set"])
        latest = instance.fetch_materializations(labels, limit=1).records
        if not latest or now - latest[0].timestamp >= self.quiet:
            return True
        trained = instance.fetch_materializations(
            dg.AssetKey([vertical, "finetuned_ckpt"]), limit=1
        ).records
        since = dg.AssetRecordsFilter(
            labels, after_timestamp=trained[0].timestamp if trained else 0.0
        )
        first = instance.fetch_materializations(since, limit=1, ascending=True).records
        return bool(first) and now - first[0].timestamp >= MOST_QUIET * self.quiet


def building_folder(vertical: str) -> UPath:
    """Locked while `vertical-assets build` is at work."""
    from vertical_assets.corpus.reading.sources import work_folder

    return UPath(work_folder(vertical) / "building")


def policy(
    asset: dg.AssetSpec, group_of: Mapping[dg.AssetKey, str | None], spec: VerticalSpec
) -> dg.AutomationCondition[dg.AssetKey] | None:
    """The condition of an asset, by its stage; None for what people and sensors start: the corpus,
    partitions, the base model, and all of a generation vertical.
    """
    if asset.partitions_def is not None or spec.task.kind == "generation":
        return None
    name, retrains = asset.key.path[-1], spec.automate.retrain
    above = {group_of.get(dep.asset_key) for dep in asset.deps}
    if asset.group_name == LABELS:
        later = [group for group in BELOW if group in above]  # what to label next, by the model
        waits = MODEL if later or name == "labeled_set" else ()
        return when_labels_change((LABELS, *later), (LABELS, *waits))
    if asset.group_name == "features" or name in ("finetuned_ckpt", "baselines"):
        by_labels = bool(above & {LABELS, "features"})
        return retrain(spec.automate.quiet_seconds) if by_labels and retrains else None
    return follow() if asset.group_name in ("evaluation", "release") and retrains else None


def automated(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], spec: VerticalSpec
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of a vertical, each with its policy."""
    assets = list(assets)
    group_of = {
        each.key: each.group_name
        for asset in assets
        for each in (asset.specs if isinstance(asset, dg.AssetsDefinition) else [asset])
    }

    def conditioned(asset: dg.AssetSpec) -> dg.AssetSpec:
        condition = policy(asset, group_of, spec)
        if condition is None:
            return asset
        return asset.replace_attributes(automation_condition=condition)

    return [
        asset.map_asset_specs(conditioned) if isinstance(asset, dg.AssetsDefinition) else asset
        for asset in assets
    ]


def loop_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Looks at the conditions of one vertical; it runs unless somebody switches it off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            name=f"{spec.name}_loop",
            target=dg.AssetSelection.key_prefixes([spec.name]).materializable(),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=spec.automate.interval_seconds,
            run_tags={LOOP_TAG: spec.name},
            # The conditions are ours: only this process knows them.
            use_user_code_server=True,
            emit_backfills=False,
            description=f"New labels of {spec.name} to a new release, by the assets' conditions.",
        )
