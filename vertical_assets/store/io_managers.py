"""Dagster's side of the store: an asset stages its result, the IO manager publishes it.

An asset returns `stored(staged, ...)`: data version and metadata are known before anything is
visible. `StoreIOManager` then commits on the way out, and hands a `Table` or a `Directory` to the
assets below, by the type that they ask for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from upath import UPath

from vertical_assets.spec import VerticalSpec
from vertical_assets.store.gates import Gate
from vertical_assets.store.markdown import markdown_table as markdown_table
from vertical_assets.store.versions import (
    POINTER,
    Directory,
    Staged,
    Table,
    commit,
    current,
    local_directory,
    store_root,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from vertical_assets.store.tables import TableWriter


# Tag of an asset: the input that it can't do without; where others can't be made, it still is.
NEEDS = "vertical_assets/needs"
# Pool of steps that compute on every core: two of them side by side take longer than one after the
# other. The limit stands in dagster.yaml.
ALL_CORES = "all_cores"
DATA_VERSION_TAG = "dagster/data_version"
GROWING = "growing"  # metadata of an input: its partitions come and go
PAGE = 500  # records that are read at a time
ALL_FILES = "all"  # the partition of watched files that are not parted


class StoreIOManager(dg.UPathIOManager):
    """Publishes staged results under `<root>/<asset key>[/<partition>]` and opens current ones."""

    def __init__(self) -> None:
        super().__init__(base_path=store_root())

    def dump_to_path(self, context: dg.OutputContext, obj: Staged, path: UPath) -> None:
        commit(obj, path)

    def make_directory(self, path: UPath) -> None:
        """The parent is all that has to be there; `commit` makes the rest."""
        path.parent.mkdir(parents=True, exist_ok=True)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Table | Directory | None:
        """What is stored; an input of type `Table | None` is None where nothing is."""
        try:
            version = current(path)
        except FileNotFoundError:
            if type(None) in get_args(context.dagster_type.typing_type):
                return None
            raise
        if context.dagster_type.typing_type is Directory:
            return Directory(local_directory(version))
        return Table((version,))

    def load_input(self, context: dg.InputContext) -> Any:
        """As its base, but no partition at all is an empty handle."""
        if context.has_asset_partitions and not context.asset_partition_keys:
            return Table(())
        return super().load_input(context)

    def load_partitions(self, context: dg.InputContext) -> Table:
        """All partitions as one table: of a fixed set in its order, of a growing one (where those
        that are not materialized yet are left out) by their keys.
        """
        paths = self._get_paths_for_partitions(context)
        if context.definition_metadata.get(GROWING):
            stored = [paths[key] for key in sorted(paths) if (paths[key] / POINTER).exists()]
            return Table(tuple(map(current, stored)))
        return Table(tuple(current(paths[key]) for key in context.asset_partition_keys))


def watched_files(
    spec: VerticalSpec,
    stage: str,
    name: str,
    description: str,
    parts: Sequence[str] | dg.PartitionsDefinition = (ALL_FILES,),
) -> dg.AssetSpec:
    """Files that people put somewhere, as an external asset whose observations tell of changes."""
    if not isinstance(parts, dg.PartitionsDefinition):
        parts = dg.StaticPartitionsDefinition(list(parts))
    return dg.AssetSpec(
        key=[spec.name, name],
        group_name=stage,
        # Dagster follows observations of an external asset by partition only.
        partitions_def=parts,
        kinds={"file"},
        tags={"vertical": spec.name, "stage": stage},
        description=f"{description} The data version is a digest of their names and bytes, looked "
        "at every minute and by every build.",
    )


def writer(
    spec: VerticalSpec, asset: str, schema: "pa.Schema", partition: str | None = None
) -> "TableWriter":
    """A new version of an asset's table, which takes over unchanged parts of the current one."""
    from vertical_assets.store.tables import TableWriter, previous_version

    entry = store_root().joinpath(spec.name, asset, *([partition] if partition else []))
    return TableWriter(store_root(), schema, previous_version(entry), spec.sensitive)


def stored(
    staged: Staged,
    *,
    key: Sequence[str] | None = None,
    checks: Sequence[dg.AssetCheckResult] = (),
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[Staged]:
    """The result of an asset: content as data version, schema, size and a preview for its page."""
    described: dict[str, Any] = {"bytes": staged.bytes, "data_version": staged.version}
    if staged.schema is not None:
        described |= {
            "dagster/row_count": staged.rows,
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(
                        field.name,
                        type=str(field.type),
                        description=(field.metadata or {}).get(b"description", b"").decode(),
                        constraints=dg.TableColumnConstraints(nullable=field.nullable),
                    )
                    for field in staged.schema
                ]
            ),
        }
        if staged.preview:
            described["preview"] = dg.MetadataValue.md(markdown_table(staged.preview))
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(key) if key else None,
        value=staged,
        data_version=dg.DataVersion(staged.version),
        check_results=list(checks),
        metadata={**described, **(metadata or {})},
    )


def outs(
    spec: VerticalSpec,
    stage: str,
    descriptions: Mapping[str, str],
    *,
    version: str,
    reads: Sequence[str],
    kinds: set[str],
) -> dict[str, dg.AssetOut]:
    """Assets that one step makes together: name -> output, for `dg.multi_asset`."""
    return {
        name: dg.AssetOut(
            **spec.asset(stage, name, version=version, reads=reads, kinds=kinds),
            description=description,
        )
        for name, description in descriptions.items()
    }


def check(
    name: str,
    passed: bool,
    reason: str,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    key: Sequence[str] | None = None,
    **figures: Any,
) -> dg.AssetCheckResult:
    """A verdict in plain words; `figures` are the numbers behind it."""
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=dg.AssetKey(key) if key else None,
        passed=bool(passed),
        severity=severity,
        description=reason,
        metadata=figures,
    )


def gate_checks(
    gates: Iterable[Gate], key: Sequence[str] | None = None
) -> list[dg.AssetCheckResult]:
    """Verdicts of gates: a failed one is an error where no model is released without it, else a
    warning.
    """
    return [
        check(
            gate.gate,
            gate.passed,
            gate.why,
            severity=dg.AssetCheckSeverity.ERROR if gate.blocking else dg.AssetCheckSeverity.WARN,
            key=key,
            value=gate.value,
            bar=gate.bar,
        )
        for gate in gates
    ]


def recorded_failures(
    instance: dg.DagsterInstance,
    checks: Iterable[dg.AssetCheckKey],
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition | None],
) -> dict[dg.AssetCheckKey, str]:
    """Checks whose latest recorded verdict is a failure as an error, with the reason in words.

    Of a partitioned asset every partition has a latest verdict: one that is sound hides no other.

    Args:
        instance: which records.
        checks: asked about.
        partitions: of the checks' assets; none, or None, of one that is not partitioned.
    """
    wanted, found = sorted(checks, key=str), dict[dg.AssetCheckKey, str]()
    records = instance.event_log_storage.get_asset_check_summary_records(wanted) if wanted else {}
    for key in wanted:
        latest = records[key].last_completed_check_execution_record
        verdicts = [] if latest is None else [latest]
        parts = partitions.get(key.asset_key)
        if parts is not None:
            verdicts += _verdicts_by_partition(instance, key, parts)
        for record in verdicts:
            event = record.event.dagster_event if record.event else None
            if event is None:
                continue
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
                found.setdefault(key, evaluation.description or "")
    return found


def _verdicts_by_partition(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, parts: dg.PartitionsDefinition
) -> list[AssetCheckExecutionRecord]:
    """The latest verdict on what is stored of every partition that there still is."""
    log = instance.event_log_storage
    made = log.get_latest_storage_id_by_partition(
        key.asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    left = parts.get_partition_keys(dynamic_partitions_store=instance)
    open_ids = {made[part] for part in left if part in made}
    found, cursor = list[AssetCheckExecutionRecord](), None
    while open_ids:
        page = log.get_asset_check_execution_history(
            key, PAGE, cursor, COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        )
        for record in page:
            event = record.event.dagster_event if record.event else None
            of = event and event.asset_check_evaluation_data.target_materialization_data
            if of and of.storage_id in open_ids:
                open_ids.remove(of.storage_id)
                found.append(record)
        if len(page) < PAGE:
            break
        cursor = page[-1].id
    return found


def counts_table(counts: Mapping[str, int], *names: str) -> dg.MarkdownMetadataValue:
    """Counts under keys of tab-separated parts, as a Markdown table with these column names."""
    rows = [
        {**dict(zip(names, key.split("\t"), strict=True)), "count": count}
        for key, count in sorted(counts.items())
    ]
    return dg.MetadataValue.md(markdown_table(rows))


def texts_table(
    spec: VerticalSpec, rows: Sequence[Mapping[str, Any]], cell: int = 60
) -> dg.MarkdownMetadataValue:
    """Rows that hold texts as a Markdown table; none of a sensitive vertical, whose texts are in
    encrypted tables only (SPEC X2).

    Args:
        spec: section `sensitive`.
        rows: of the table.
        cell: characters that are shown of a value.
    """
    hidden = "not shown: the vertical is sensitive"
    return dg.MetadataValue.md(hidden if spec.sensitive else markdown_table(rows, cell=cell))


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG inside Markdown, so that the asset's page shows it without a file server."""
    import base64

    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
    )
