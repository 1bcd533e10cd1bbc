"""The sensor of batches: each arrival is a partition, and is asked for once."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from vertical_assets.alerts import alerts
from vertical_assets.automation import unsynced
from vertical_assets.defs.resources import defs as resources
from vertical_assets.labels.batches import arrivals
from vertical_assets.labels.batches.automation import DIGEST, batch_sensor, register
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.io_managers import DATA_VERSION_TAG
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labels.batches.test_arrivals import LINE

SPEC = VerticalSpec(**tiny(annotation={}))
BOTH = VerticalSpec(**tiny())
ANNOTATIONS = dg.AssetKey(["tiny", "annotations"])
NAME = "tiny_batches"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The drop folder; files in it are taken as settled at once."""
    for name in ("DATA", "WORK", "STORE"):
        monkeypatch.setenv(f"VERTICAL_{name}", str(tmp_path / name.lower()))
    for name in ("SETTLED_SECONDS", "MALFORMED_SECONDS"):
        monkeypatch.setattr(arrivals, name, 0.0)
    folder = tmp_path / "data" / "tiny" / "annotations"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that has documents already."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(["tiny", "dedup_corpus"]))
        yield instance


class Ticks:
    """A daemon that runs the sensor again and again."""

    def __init__(self, instance: dg.DagsterInstance, spec: VerticalSpec = SPEC) -> None:
        self.instance, self.spec = instance, spec
        self.cursor: str | None = None
        self.known: set[str] = set()  # run keys, which the daemon never starts twice

    def tick(self) -> list[str]:
        """Partitions of which a run is started."""
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = batch_sensor(self.spec)(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(NAME, request.partition_keys)
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(NAME, key)
        new = [run for run in result.run_requests or [] if run.run_key not in self.known]
        self.known |= {str(run.run_key) for run in new}
        return [str(run.partition_key) for run in new]

    @property
    def partitions(self) -> list[str]:
        return sorted(self.instance.get_dynamic_partitions(NAME))


def test_each_arrival_is_registered_and_asked_for_once(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    ticks = Ticks(instance)
    assert ticks.tick() == []
    for name in ("a", "b", "c", "d", "e"):
        (folder / f"{name}.jsonl").write_text(LINE)
    assert ticks.tick() == ["a", "b", "c", "d", "e"]
    assert ticks.partitions == ["a", "b", "c", "d", "e"]
    assert ticks.tick() == []
    (folder / "b.jsonl").write_text(LINE * 2)
    assert ticks.tick() == ["b"]
    assert ticks.tick() == []


def test_a_malformed_file_does_not_hold_up_the_others(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    (folder / "bad.jsonl").write_text("{no\n")
    (folder / "good.jsonl").write_text(LINE)
    ticks = Ticks(instance)
    assert ticks.tick() == ["good"]
    assert ticks.partitions == ["good"]
    assert not (folder / "bad.jsonl").exists()
    assert [alert["kind"] for alert in alerts()] == ["malformed_batch"]


def test_before_there_are_documents_batches_wait(folder: Path) -> None:
    (folder / "a.jsonl").write_text(LINE)
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance)
        assert ticks.tick() == []
        assert ticks.partitions == ["a"]
        instance.report_runless_asset_event(dg.AssetMaterialization(["tiny", "dedup_corpus"]))
        assert ticks.tick() == ["a"]


def test_simulated_annotators_are_a_batch_beside_the_files(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    (folder / "simulated.jsonl").write_text(LINE)
    ticks = Ticks(instance, BOTH)
    assert sorted(ticks.tick()) == ticks.partitions == ["simulated", "simulated_file"]


def test_what_a_build_has_read_is_not_asked_for_again(
    folder: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (folder / "a.jsonl").write_text(LINE)
    (batch,) = register(SPEC, instance).arrivals.batches
    materialized(instance, tmp_path, "a", batch.digest)
    assert Ticks(instance).tick() == []


def materialized(instance: dg.DagsterInstance, root: Path, key: str, digest: str) -> None:
    """Records a batch as read, and puts something into the store for it."""
    entry = root / "store" / "tiny" / "annotations" / key
    entry.mkdir(parents=True)
    (entry / "CURRENT.json").write_text(json.dumps({"version": f"of {digest}"}))
    instance.report_runless_asset_event(
        dg.AssetMaterialization(ANNOTATIONS, partition=key, metadata={DIGEST: digest})
    )


def test_a_removed_file_takes_its_batch_with_it_and_may_come_back(
    folder: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    ticks = Ticks(instance)
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text(LINE)
    assert ticks.tick() == ["a", "b"]
    entry = tmp_path / "store" / "tiny" / "annotations" / "b"
    materialized(instance, tmp_path, "b", "digest")
    (folder / "b.jsonl").unlink()
    assert ticks.tick() == []
    assert ticks.partitions == ["a"]
    assert not entry.exists()
    assert [alert["kind"] for alert in alerts()] == ["batch_removed"]
    (folder / "b.jsonl").write_text(LINE)
    assert ticks.tick() == ["b"]
    assert ticks.partitions == ["a", "b"]
    definitions = dg.Definitions.merge(build_definitions(SPEC), resources())
    graph = definitions.resolve_asset_graph()
    stale = unsynced(graph, instance, [ANNOTATIONS])
    assert {item.partition for item in stale} == {"a", "b"}


def test_a_folder_out_of_reach_removes_nothing(folder: Path, instance: dg.DagsterInstance) -> None:
    ticks = Ticks(instance)
    (folder / "a.jsonl").write_text(LINE)
    ticks.tick()
    os.rename(folder, folder.with_name("elsewhere"))  # noqa: PTH104
    assert ticks.tick() == []
    assert ticks.partitions == ["a"]
    assert [alert["kind"] for alert in alerts()] == ["labels_out_of_reach"]
    os.rename(folder.with_name("elsewhere"), folder)  # noqa: PTH104
    assert ticks.tick() == []


def test_files_are_observed_by_batch_and_the_batches_as_a_whole(
    folder: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    def seen(asset: str, partition: str) -> str:
        record = instance.get_latest_data_version_record(
            dg.AssetKey(["tiny", asset]), is_source=True, partition_key=partition
        )
        assert record is not None
        return (record.event_log_entry.tags or {})[DATA_VERSION_TAG]

    (folder / "a.jsonl").write_text(LINE)
    (batch,) = register(SPEC, instance).arrivals.batches
    assert seen("label_files", "a") == batch.digest
    before = seen("batches", "all")
    materialized(instance, tmp_path, "a", batch.digest)
    register(SPEC, instance)
    assert seen("batches", "all") != before


def test_the_sensor_is_on_by_default() -> None:
    sensor = batch_sensor(SPEC)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 15
