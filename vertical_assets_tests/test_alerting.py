"""Alerting: failed checks, runs and ticks of a real instance reach a webhook, each once."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.selector import RepositorySelector
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    TickData,
    TickStatus,
)
from dagster_shared.error import SerializableErrorInfo

from vertical_assets import alerts
from vertical_assets.alerting import OWN, alert_sensor, is_named_after
from vertical_assets.alerts import WEBHOOK
from vertical_assets.spec import VerticalSpec
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.test_alerts import Receiver

SPEC = VerticalSpec(**tiny())


def gate(vertical: str, passed: bool, severity: dg.AssetCheckSeverity) -> dg.AssetsDefinition:
    """An asset whose check says this."""

    @dg.asset(
        key=[vertical, "agreement_report"],
        check_specs=[dg.AssetCheckSpec("alpha", asset=[vertical, "agreement_report"])],
    )
    def report():  # type: ignore[no-untyped-def]
        said = dg.AssetCheckResult(
            check_name="alpha", passed=passed, severity=severity, description="alpha 0.4 < 0.85"
        )
        return dg.MaterializeResult(check_results=[said])

    return report


@dg.asset(key=["tiny", "finetuned_ckpt"])
def broken() -> None:
    raise dg.Failure("the disk is full", allow_retries=False)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as instance:
        yield instance


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setenv(WEBHOOK, receiver.url)
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def run(asset: dg.AssetsDefinition, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = dg.Definitions(assets=[asset]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        asset_selection=list(asset.keys), instance=instance, raise_on_error=False
    )


def look(instance: dg.DagsterInstance, cursor: str | None) -> str:
    """One tick; returns the new cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    alert_sensor(SPEC)(context)
    assert context.cursor is not None
    return context.cursor


def test_what_fails_is_alerted_once(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    error, warning = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    cursor = look(instance, None)
    run(gate("tiny", False, error), instance)
    for _ in range(2):  # a batch that stays refused warns in every run: once a day is enough
        run(gate("tiny", False, warning), instance)
    run(gate("tiny", True, error), instance)
    run(gate("other", False, error), instance)
    failed = run(broken, instance)
    for _ in range(2):
        cursor = look(instance, cursor)
    found = {each["kind"]: each for each in receiver.received}
    assert len(receiver.received) == 3
    assert set(found) == {"check_failed", "check_warned", "run_failed"}
    check = found["check_failed"]
    assert (check["vertical"], check["asset"], check["check"]) == (
        "tiny",
        "agreement_report",
        "alpha",
    )
    assert check["reason"] == "alpha 0.4 < 0.85"
    assert "alpha 0.4 < 0.85" in check["message"]
    failure = found["run_failed"]
    assert failure["run_id"] == failed.run_id
    assert failure["asset"] == "finetuned_ckpt"
    assert failure["reason"] == "tiny__finetuned_ckpt: the disk is full"


def test_what_failed_before_the_first_look_is_history(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    run(broken, instance)
    look(instance, look(instance, None))
    assert receiver.received == []


def test_a_dead_webhook_does_not_stop_the_sensor(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK, "http://127.0.0.1:9/")
    monkeypatch.setattr(alerts, "PAUSE", 0.0)
    cursor = look(instance, None)
    run(broken, instance)
    look(instance, cursor)
    assert [each["kind"] for each in alerts.alerts()] == ["run_failed"]


def test_a_sensor_that_fails_again_is_alerted_once(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    job = dg.define_asset_job("any", selection="*")
    sensor = dg.SensorDefinition("tiny_batches", job=job, evaluation_fn=lambda _: None)
    repository = RepositorySelector(location_name="here", repository_name="__repository__")
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), repository.repository_name),
        sensor.name,
    )
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    )
    cursor = look(instance, None)
    for failures in (1, 2, 3):
        instance.create_tick(
            TickData(
                instigator_origin_id=origin.get_id(),
                instigator_name=sensor.name,
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.FAILURE,
                timestamp=time.time(),
                selector_id=origin.get_selector().get_id(),
                error=SerializableErrorInfo("the folder is not there", [], None),
                consecutive_failure_count=failures,
            )
        )
    look(instance, cursor)
    (sent,) = receiver.received
    assert sent["kind"] == "sensor_failed"
    assert sent["message"] == "sensor tiny_batches failed: the folder is not there"


def test_every_job_sensor_and_schedule_is_told_to_be_its_verticals() -> None:
    """And to be no other one's whose name begins alike."""
    spec = VerticalSpec(**tiny(name="tiny_b", annotation={"label_studio": {}}))
    made = build_definitions(spec)
    named = [*(made.jobs or ()), *(made.sensors or ()), *(made.schedules or ())]
    assert {name.removeprefix("tiny_b_") for name in (each.name for each in named)} == OWN
    for each in named:
        assert is_named_after("tiny_b", each.name)
        assert not is_named_after("tiny", each.name)


def test_the_sensor_is_on_by_default() -> None:
    assert alert_sensor(SPEC).default_status is dg.DefaultSensorStatus.RUNNING
