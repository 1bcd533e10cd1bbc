"""Automation of the batches: each arrival becomes a partition, and its annotations are read.

`vertical-assets build` and the sensor share `notice`: what the drop folder holds, against what is
registered. Removed files take their partition and what is stored of it with them, unless the whole
folder is out of reach.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
import xxhash

from vertical_assets.alerts import alert
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import SIMULATED
from vertical_assets.store import store_root
from vertical_assets.store.io_managers import ALL_FILES, DATA_VERSION_TAG
from vertical_assets.store.versions import current_versions, withdraw

if TYPE_CHECKING:
    from vertical_assets.labels.batches.arrivals import Arrivals

DIGEST = "files_digest"  # metadata of a materialization: which bytes it was made from
GONE = "gone"
LOOK_SECONDS = 15
PARTITIONED = ("annotations", "rejected_annotations")


def batches_of(spec: VerticalSpec) -> dg.DynamicPartitionsDefinition:
    """One partition per batch of labels."""
    return dg.DynamicPartitionsDefinition(name=f"{spec.name}_batches")


@dataclass(frozen=True)
class Noticed:
    """What one look at the drop folder comes to."""

    arrivals: "Arrivals"
    new: tuple[str, ...]
    gone: tuple[str, ...]
    keys: tuple[str, ...]  # of all batches there are now


def notice(spec: VerticalSpec, instance: dg.DagsterInstance, *, tidy: bool = True) -> Noticed:
    """Looks at the drop folder; with `tidy` malformed files are set aside."""
    from vertical_assets.labels.batches.arrivals import arrivals, files_by_batch, set_aside

    found = arrivals(spec)
    for malformed in found.malformed if tidy else ():
        set_aside(malformed, spec)
    known = set(instance.get_dynamic_partitions(f"{spec.name}_batches"))
    ready = {batch.key for batch in found.batches}
    # What is being rewritten or was found malformed stays until its file is gone.
    there = ready | set(files_by_batch(spec))
    if spec.annotation.simulate is not None:
        ready.add(SIMULATED)
        there.add(SIMULATED)
    gone = known - there if found.reachable or spec.annotation.path is None else set()
    if known - there - gone:
        alert(
            "labels_out_of_reach",
            spec.name,
            f"the folder of {spec.annotation.path} is not there, so the batches "
            f"{', '.join(sorted(known - there))} stay as they were read; put it back, or set "
            "annotation.path to null",
            key=f"labels_out_of_reach {spec.name} {datetime.now(UTC).date()}",  # once a day
        )
    keys = (known | ready) - gone
    return Noticed(found, tuple(sorted(ready - known)), tuple(sorted(gone)), tuple(sorted(keys)))


def withdraw_batches(
    spec: VerticalSpec, instance: dg.DagsterInstance, gone: tuple[str, ...]
) -> None:
    """Takes what is stored of removed batches out of the store, and says so, once each time."""
    for key in gone:
        _, event = made_from(spec, instance, key)
        for asset in PARTITIONED:
            withdraw(store_root(), store_root() / spec.name / asset / key)
        alert(
            "batch_removed",
            spec.name,
            f"the file of batch {key} was taken away: its labels no longer count",
            key=f"batch_removed {spec.name} {key} {event}",
            batch=key,
        )


def register(spec: VerticalSpec, instance: dg.DagsterInstance, *, tidy: bool = True) -> Noticed:
    """Brings the partitions in line with the drop folder, and records what its files hold."""
    noticed = notice(spec, instance, tidy=tidy)
    name = f"{spec.name}_batches"
    instance.add_dynamic_partitions(name, noticed.new)
    withdraw_batches(spec, instance, noticed.gone)  # while it is still known what is gone
    for key in noticed.gone:
        instance.delete_dynamic_partition(name, key)
    for observation in observations(spec, instance, noticed):
        instance.report_runless_asset_event(observation)
    return noticed


def observations(
    spec: VerticalSpec, instance: dg.DagsterInstance, noticed: Noticed
) -> Iterator[dg.AssetObservation]:
    """Observations of files and batches that are not as they were last seen."""
    files, batches = (dg.AssetKey([spec.name, name]) for name in ("label_files", "batches"))
    found = {(files, batch.key): batch.digest for batch in noticed.arrivals.batches}
    if SIMULATED in noticed.keys:
        found[files, SIMULATED] = SIMULATED
    # Comes it back with the same bytes, it is to be read again.
    found |= {(files, key): GONE for key in noticed.gone}
    found[batches, ALL_FILES] = version_of_batches(spec, noticed.keys)
    for (key, partition), version in found.items():
        record = instance.get_latest_data_version_record(
            key, is_source=True, partition_key=partition
        )
        tags = record.event_log_entry.tags if record else None
        if not tags or tags.get(DATA_VERSION_TAG) != version:
            yield observation(key, partition, version)


def observation(key: dg.AssetKey, partition: str, version: str) -> dg.AssetObservation:
    return dg.AssetObservation(key, partition=partition, tags={DATA_VERSION_TAG: version})


def version_of_batches(
    spec: VerticalSpec, keys: tuple[str, ...], newer: Mapping[str, str] | None = None
) -> str:
    """Digest of which batches are read, and of each one's annotations.

    Dagster follows no more than a hundred partitions into an asset below them, and does not see
    that one is gone; what is below all batches depends on this as well.

    Args:
        spec: section `name`.
        keys: of the batches that there are.
        newer: key -> version that is about to be stored.
    """
    stored = {**current_versions(store_root() / spec.name / "annotations", keys), **(newer or {})}
    lines = (f"{key}\0{stored[key]}\n" for key in sorted(stored))
    return xxhash.xxh3_128_hexdigest("".join(lines).encode())


def batch_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Registers each arrival as a partition of `annotations` and asks for a run of it."""

    @dg.sensor(
        name=f"{spec.name}_batches",
        job_name=f"{spec.name}_annotate",
        minimum_interval_seconds=min(LOOK_SECONDS, spec.automate.interval_seconds),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reads each file of labels that is dropped for {spec.name}, once.",
    )
    def batches(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        noticed = notice(spec, context.instance)
        asked = json.loads(context.cursor or "{}")
        digests = {batch.key: batch.digest for batch in noticed.arrivals.batches}
        if SIMULATED in noticed.keys:
            digests[SIMULATED] = SIMULATED
        requests, skipped = [], None
        if context.instance.get_latest_materialization_event(
            dg.AssetKey([spec.name, "dedup_corpus"])
        ):
            for key, digest in digests.items():
                if asked.get(key) == digest:
                    continue
                made, event = made_from(spec, context.instance, key)
                if made != digest:
                    # The same bytes may come again, after others or after they were gone.
                    run_key = f"{key}:{digest}:{event}"
                    requests.append(dg.RunRequest(run_key=run_key, partition_key=key))
            asked = {key: asked.get(key) for key in noticed.keys} | digests
        elif digests:
            skipped = f"{spec.name} has no documents yet: build its corpus first"
        changes: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
        if noticed.new:
            changes.append(batches_of(spec).build_add_request(list(noticed.new)))
        if noticed.gone:
            changes.append(batches_of(spec).build_delete_request(list(noticed.gone)))
            withdraw_batches(spec, context.instance, noticed.gone)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=skipped if not requests else None,
            cursor=json.dumps({key: digest for key, digest in asked.items() if digest}),
            dynamic_partitions_requests=changes,
            asset_events=list(observations(spec, context.instance, noticed)),
        )

    return batches


def made_from(spec: VerticalSpec, instance: dg.DagsterInstance, key: str) -> tuple[str | None, int]:
    """Digest of the files that a batch's stored annotations were made from, and the number of the
    event that says so; no digest where nothing is stored, 0 where nothing ever was.
    """
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey([spec.name, "annotations"]), asset_partitions=[key]
        ),
        limit=1,
    ).records
    made = records[0].asset_materialization if records else None
    if made is None:
        return None, 0
    value = made.metadata.get(DIGEST)
    stored = current_versions(store_root() / spec.name / "annotations", [key])
    return (str(value.value) if value and stored else None), records[0].storage_id
