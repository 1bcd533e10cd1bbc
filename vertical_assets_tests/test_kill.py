"""Killed with -9 at random moments, a build leaves nothing half-written, and the next one ends
where an unbroken one does. `KILLS` says how often; 20 were run before each release.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from vertical_assets_tests.conftest import Project, write_tiny
from vertical_assets_tests.test_build import instance_of, not_up_to_date, state_of

KILLS = int(os.environ.get("KILLS", "1"))
LONGEST = float(os.environ.get("LONGEST", "45"))  # seconds; about as long as a build takes


def readable(store: Path) -> dict[str, str]:
    """Opens everything that is visible; returns entry -> version."""
    found = {}
    for pointer in store.rglob("CURRENT.json"):
        version = json.loads(pointer.read_text())["version"]
        folder = pointer.parent / version
        for file in folder.rglob("*"):
            if file.suffix == ".parquet":
                pq.read_table(file)
            elif file.suffix == ".safetensors":
                with safe_open(file, framework="np") as tensors:
                    assert list(tensors.keys())
            elif file.suffix == ".json":
                json.loads(file.read_text())
        found[str(pointer.parent.relative_to(store))] = version
    return found


def test_kills_at_random_moments(
    built: Project, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by an unbroken build, or after kills and by force, in one process or in one for each
    heavy step: the content is the same.
    """
    monkeypatch.setenv("VERTICAL_STEPS", "2")
    write_tiny(project)
    store = project.root / "data" / "store" / "tiny"
    dice = random.Random(KILLS)
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "vertical_assets", "build", "tiny"],
            cwd=project.root,
            env=project.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(dice.uniform(2.0, LONGEST))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        readable(store)
    # Also what was made before the kills is made anew, and comes to the same.
    states = state_of(project.build("--all").stdout)
    assert set(states.values()) <= {"built", "same content"}
    assert readable(store) == readable(built.root / "data" / "store" / "tiny")
    assert not_up_to_date(project) == set()
    with instance_of(project) as instance:
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []
    assert not list((project.root / "data" / "work").rglob("*.safetensors"))


def build_until(project: Project, there: Callable[[], bool]) -> None:
    """Builds, and kills the whole session as soon as something is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vertical_assets", "build", "tiny"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while not (found := there()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert found


def test_a_killed_training_resumes_from_its_last_checkpoint(
    copy_of_built: Project, built: Project
) -> None:
    """The classifier's log of a killed and resumed build is the log of one unbroken run.

    The whole session dies, as when a machine does: an orphaned step could finish in the meantime.
    """
    from vertical_assets_tests.conftest import tiny

    longer = tiny()
    longer["finetune"]["epochs"] = 14
    copy_of_built.vertical(longer)
    work = copy_of_built.root / "data" / "work" / "tiny" / "finetuned_ckpt"
    before = copy_of_built.current("finetuned_ckpt")
    build_until(copy_of_built, lambda: bool(list(work.rglob("last.safetensors"))))
    assert copy_of_built.current("finetuned_ckpt") == before
    # What lies below the classifier is of no interest here.
    build_until(copy_of_built, lambda: copy_of_built.current("finetuned_ckpt") != before)
    log = (copy_of_built.current("finetuned_ckpt") / "training_log.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in log.splitlines() if "batch_loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    manifest = json.loads((copy_of_built.current("finetuned_ckpt") / "manifest.json").read_text())
    assert manifest["resumed_from_step"] > 0
    assert not list(work.rglob("last.safetensors"))
