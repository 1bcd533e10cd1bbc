"""The launcher of runs on one machine: Dagster's own, and it knows whether a run's process lives.

With it `run_monitoring` closes runs whose process was killed, and `run_retries` takes them up
again, from the step that was not finished. `dagster.yaml` names it.
"""

import re
import socket
import time
from typing import Any

import dagster as dg
import psutil
from dagster import DagsterEventType
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

PID_TAG, HOST_TAG = "vertical_assets/pid", "vertical_assets/host"  # of runs that a build executes
STARTED = re.compile(r"Started process for .* \(pid: (\d+)\)")


class WatchedRunLauncher(DefaultRunLauncher):
    """See the module.

    A dead run is told at the second look. The first look of a daemon that was started again falls
    together with the first look of its retries, which pass over a run whose failure is half
    recorded, and never come back to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._suspected: set[str] = set()

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        if not is_dead(run, self._instance):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if run.run_id not in self._suspected:
            self._suspected.add(run.run_id)
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "its process is gone; looked at again"
            )
        return CheckRunHealthResult(WorkerStatus.FAILED, "the process that ran it is gone")


def is_dead(run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    """Whether the process that executes a run on this machine is gone. Of a run elsewhere, or one
    that did not tell its process, nothing is known.
    """
    if PID_TAG in run.tags:
        if run.tags.get(HOST_TAG) != socket.gethostname():
            return False
        record = instance.get_run_record_by_id(run.run_id)
        since = record.create_timestamp.timestamp() if record else time.time()
        return not lives(int(run.tags[PID_TAG]), since)
    for entry in reversed(instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        found = STARTED.match(entry.dagster_event.message or "") if entry.dagster_event else None
        if found:
            return not lives(int(found[1]), entry.timestamp)
    return False


def lives(pid: int, since: float) -> bool:
    """Whether a process of that number, begun by then, is there; a later one is another."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
