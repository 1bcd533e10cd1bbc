"""The launcher knows whether the process of a run lives."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher.base import WorkerStatus

from vertical_assets.launcher import HOST_TAG, PID_TAG, WatchedRunLauncher, is_dead, lives
from vertical_assets_tests.conftest import ROOT


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


@dg.job
def nothing() -> None:
    """A job without steps."""


def run_of(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)


def test_a_run_lives_as_long_as_its_process(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]"
) -> None:
    run = run_of(instance)
    assert not is_dead(run, instance)  # nothing is known yet
    # As the code server reports it, when it starts a run.
    instance.report_engine_event(f"Started process for run (pid: {process.pid}).", run)
    assert not is_dead(run, instance)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(run, instance)  # not reaped yet
    process.wait()
    assert is_dead(run, instance)


def test_a_later_process_of_the_same_number_is_another(
    instance: dg.DagsterInstance, process: "subprocess.Popen[bytes]"
) -> None:
    born = psutil.Process(process.pid).create_time()
    assert lives(process.pid, born + 1)
    assert not lives(process.pid, born - 60)


def test_of_a_run_of_another_machine_nothing_is_known(instance: dg.DagsterInstance) -> None:
    gone = "999999999"
    assert not is_dead(run_of(instance, **{PID_TAG: gone, HOST_TAG: "elsewhere"}), instance)
    assert is_dead(run_of(instance, **{PID_TAG: gone, HOST_TAG: socket.gethostname()}), instance)
    here = {PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()}
    assert not is_dead(run_of(instance, **here), instance)


def test_a_number_that_another_process_took_over_keeps_no_build_alive(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container that was started again numbers are small, and come again."""
    run = run_of(instance, **{PID_TAG: str(os.getpid()), HOST_TAG: socket.gethostname()})
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    born = record.create_timestamp.timestamp() + 60
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: born)
    assert is_dead(run, instance)


def test_the_project_runs_with_it(tmp_path: Path) -> None:
    """Named in dagster.yaml, it tells Dagster's monitoring."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            launcher = instance.run_launcher
            assert isinstance(launcher, WatchedRunLauncher)
            assert launcher.supports_check_run_worker_health
            gone = {PID_TAG: "999999999", HOST_TAG: socket.gethostname()}
            run = instance.create_run_for_job(nothing, tags=gone)
            looks = [launcher.check_run_worker_health(run).status for _ in range(3)]
            assert looks == [WorkerStatus.RUNNING, WorkerStatus.FAILED, WorkerStatus.FAILED]
    finally:
        os.chdir(before)
