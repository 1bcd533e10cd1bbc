"""What the closed loop's policies are made of: conditions that Dagster does not have.

All of them are levels, not edges: they compare what an asset was made from with what is there now,
which the instance records, so that a daemon that was killed, or was off while a file arrived, comes
to the same decision later.
"""

import json
from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
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
from vertical_assets.store.atomic import is_locked
from vertical_assets.store.io_managers import recorded_failures

MOST_QUIET = 10  # times the quiet period, after which labels that keep coming are trained on
RETRIED_SECONDS = 600  # within which the daemon starts the retry of a run whose process died
IN_PROGRESS = [
    *IN_PROGRESS_RUN_STATUSES,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Facts:
    """What the instance says at one look: asked for once, and the same for all conditions."""

    def __init__(self, view: AssetGraphView) -> None:
        self.instance, self.graph = view.instance, view.asset_graph
        self.resolver = CachingStaleStatusResolver(view.instance, view.asset_graph, view)

    @cached_property
    def runs(self) -> list[dg.DagsterRun]:
        """Runs that are not over, and failed ones that the daemon is about to try again."""
        open_runs = self.instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
        failed = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            tags={"dagster/will_retry": "true"},
            updated_after=datetime.now(UTC) - timedelta(seconds=RETRIED_SECONDS),
        )
        lately = self.instance.get_runs(failed)
        return [*open_runs, *(run for run in lately if "dagster/auto_retry_run_id" not in run.tags)]

    @cached_property
    def closed(self) -> set[dg.AssetKey]:
        """Assets of which a blocking check failed last, as an error."""
        checks = [key for key in self.graph.asset_check_keys if self.graph.get(key).blocking]
        parts = {key.asset_key: self.graph.get(key.asset_key).partitions_def for key in checks}
        return {check.asset_key for check in recorded_failures(self.instance, checks, parts)}

    @cached_property
    def made(self) -> set[dg.AssetKey]:
        """Assets that were materialized once."""
        keys = list(self.graph.materializable_asset_keys)
        return {
            record.asset_entry.asset_key
            for record in self.instance.get_asset_records(keys)
            if record.asset_entry.last_materialization is not None
        }


_FACTS: WeakKeyDictionary[AssetGraphView, Facts] = WeakKeyDictionary()


def facts_of(context: AutomationContext[dg.AssetKey]) -> Facts:
    """The facts of the look that a condition is evaluated in."""
    view = context.asset_graph_view
    if view not in _FACTS:
        _FACTS[view] = Facts(view)
    return _FACTS[view]


class Condition(dg.AutomationCondition[dg.AssetKey]):
    """A condition of a whole asset, without partitions."""

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        # What a condition before it ruled out need not be looked at.
        return whole_or_nothing(context, is_candidate(context) and self.holds(context))

    @abstractmethod
    def holds(self, context: AutomationContext[dg.AssetKey]) -> bool:
        """Whether it is true now."""


def is_candidate(context: AutomationContext[dg.AssetKey]) -> bool:
    """Whether the conditions before this one have left the asset in question."""
    return not context.candidate_subset.is_empty


def whole_or_nothing(
    context: AutomationContext[dg.AssetKey], holds: bool, cursor: str | None = None
) -> dg.AutomationResult[dg.AssetKey]:
    """All of the asset where the condition holds."""
    whole = context.candidate_subset if holds else context.get_empty_subset()
    return dg.AutomationResult(context, whole, cursor=cursor)


@dataclass(frozen=True)
class Outdated(dg.AutomationCondition[dg.AssetKey]):
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
        before = json.loads(context.cursor or "{}")
        requested = context.get_previous_requested_subset(context.key)
        was_requested = requested is not None and not requested.is_empty
        asked = before.get("state") if was_requested else before.get("asked")
        state = self.state(context) if is_candidate(context) else None
        cursor = json.dumps({"state": state, "asked": asked})
        return whole_or_nothing(context, state is not None and state != asked, cursor)

    def state(self, context: AutomationContext[dg.AssetKey]) -> str | None:
        """What is there now of the inputs that changed; None where nothing did."""
        graph, key, resolver = context.asset_graph, context.key, facts_of(context).resolver
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
            record = facts_of(context).instance.get_latest_data_version_record(
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
        if is_locked(building_folder(vertical)):
            return True
        wanted = {
            key
            for key in graph.materializable_asset_keys
            if key.path[0] == vertical and graph.get(key).group_name in self.groups
        }
        return any(
            belongs(run, vertical) and (not run.asset_selection or run.asset_selection & wanted)
            for run in facts_of(context).runs
        )


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
        graph, made = context.asset_graph, facts_of(context).made
        return all(
            parent in made or is_requested(context, parent)
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
        closed, above = facts_of(context).closed, context.asset_graph
        return any(
            not is_requested(context, key)
            for key in closed & above.get_ancestor_asset_keys(context.key)
        )


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
