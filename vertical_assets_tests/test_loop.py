"""The closed loop by what `make ui` starts: people drop files of labels; nothing else is done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from vertical_assets_tests.conftest import ROOT, Project, free_port, reviews, stop, tiny
from vertical_assets_tests.test_build import instance_of, not_up_to_date

PATIENCE = float(os.environ.get("LOOP_PATIENCE", "600"))  # seconds that a machine at work may take
ROWS = reviews(400)
# Positive and negative ones by turns, so that every batch has both.
ITEMS = [row for pair in zip(ROWS[:200], ROWS[200:], strict=True) for row in pair]


def vertical() -> dict[str, Any]:
    """`tiny`, labelled by people's files; its loop looks every two seconds."""
    attributes = tiny(annotation={"path": "annotations/*.jsonl"})
    attributes["finetune"] |= {"warm_start": {"epochs": 12}}
    attributes["automate"] = {"quiet_seconds": 3, "interval_seconds": 2}
    return attributes


def labels(rows: list[dict[str, str]], *, agreeing: bool = True) -> list[dict[str, Any]]:
    """What two annotators say of reviews; where they don't agree, one of them says the opposite of
    every second item.
    """
    other = {"positive": "negative", "negative": "positive"}
    found = []
    for number, row in enumerate(rows):
        place = ROWS.index(row)
        for who in ("ann", "bob"):
            label = row["sentiment"]
            if not agreeing and who == "bob" and number % 2:
                label = other[label]
            source = ("first", "second")[place % 2]
            found.append({"source": source, "id": row["id"], "annotator_id": who, "label": label})
    return found


@dataclass
class Loop:
    """A project and its servers."""

    project: Project
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        root = self.project.root
        log = (root / "servers.log").open("ab")
        self.process = subprocess.Popen(
            [
                *(f"{sys.prefix}/bin/dagster", "dev", "-w", "workspace.yaml"),
                *("-h", "127.0.0.1", "-p", str(free_port())),
            ],
            cwd=root,
            env=self.project.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Web server, daemon, code server and all runs die at once, as when a machine does."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def drop(self, name: str, rows: list[dict[str, Any]]) -> None:
        """As a person does: beside, then renamed into place."""
        written = self.project.data("tiny", f"annotations/{name}.jsonl.part", rows)
        written.rename(written.with_suffix(""))

    def until(self, what: str, holds: Callable[[], Any], every: float = 0.5) -> Any:
        """Waits for something; says what the servers wrote where it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not (found := holds()):
            assert self.process is not None
            log = self.project.root / "servers.log"
            assert self.process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"no {what}: {log.read_text()[-6000:]}"
            time.sleep(every)
        return found

    def version(self, asset: str) -> str | None:
        entry = self.project.root / "data" / "store" / "tiny" / asset / "CURRENT.json"
        return json.loads(entry.read_text())["version"] if entry.exists() else None

    def table(self, asset: str) -> list[dict[str, Any]]:
        folder = self.project.current(asset)
        return [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]

    def labelled(self) -> set[str]:
        """Items that have a gold label."""
        return {row["item_id"] for row in self.table("labeled_set")}

    def batches(self) -> set[str]:
        """Batches that there is a verdict on."""
        return {row["batch"] for row in self.table("batch_verdicts")}

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.project.current("finetuned_ckpt") / "manifest.json").read_text())

    def made(self, asset: str) -> int:
        """How often an asset was materialized."""
        with instance_of(self.project) as instance:
            key = dg.AssetKey(["tiny", asset])
            return len(instance.fetch_materializations(key, limit=100).records)

    def open_runs(self) -> list[dg.DagsterRun]:
        with instance_of(self.project) as instance:
            states = [state for state in dg.DagsterRunStatus if state not in FINISHED]
            return list(instance.get_runs(dg.RunsFilter(statuses=states)))

    def looks(self) -> int:
        """How often the automation has looked."""
        with instance_of(self.project) as instance:
            for state in instance.all_instigator_state():
                if state.instigator_name == "tiny_loop":
                    return len(
                        instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=999)
                    )
        return 0

    def in_release(self) -> bool:
        """Whether the labels that there are have led to a decision on a release."""
        manifest = self.manifest
        if manifest["inputs"]["labeled_set"] != self.version("labeled_set") or self.open_runs():
            return False
        with instance_of(self.project) as instance:
            made = [
                instance.fetch_materializations(dg.AssetKey(["tiny", name]), limit=1).records
                for name in ("finetuned_ckpt", "release")
            ]
        return bool(made[0] and made[1]) and made[0][0].storage_id < made[1][0].storage_id

    def alerts(self) -> list[dict[str, Any]]:
        file = self.project.root / "data" / "alerts.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


@pytest.fixture
def loop(copy_of_built: Project) -> Iterator[Loop]:
    """The built project; from now on people label it, nobody is simulated."""
    copy_of_built.vertical(vertical())
    shutil.copy(ROOT / "workspace.yaml", copy_of_built.root)
    settings = copy_of_built.root / "dagster.yaml"
    # Dead runs are looked for more often than a user has to.
    looks = "poll_interval_seconds: 20", "poll_interval_seconds: 3"
    assert looks[0] in settings.read_text()
    settings.write_text(settings.read_text().replace(*looks))
    loop = Loop(copy_of_built)
    yield loop
    if loop.process is not None:
        stop(loop.process)


def test_what_people_label_becomes_a_release_by_itself(loop: Loop) -> None:
    """One story: each chapter goes on from where the one before left the project."""
    a_batch_becomes_a_release(loop)
    a_bad_batch_trains_nothing_and_is_alerted(loop)
    five_batches_come_and_the_machine_dies(loop)


def a_batch_becomes_a_release(loop: Loop) -> None:
    """The file came while nothing ran; those of the next chapters come while the servers do."""
    trained, decided = loop.made("finetuned_ckpt"), loop.made("release")
    chosen = ITEMS[:280]
    loop.drop("monday", labels(chosen))
    loop.start()
    loop.until("labels of people", lambda: "monday" in loop.batches())
    loop.until("decision on a release", loop.in_release)
    assert loop.batches() == {"monday"}
    assert 0.8 * len(chosen) < len(loop.labelled()) <= len(chosen)
    assert loop.made("finetuned_ckpt") == trained + 1
    assert loop.made("release") == decided + 1
    assert loop.manifest["start"] == "cold"  # its configuration is another than before


def a_bad_batch_trains_nothing_and_is_alerted(loop: Loop) -> None:
    model, labelled = loop.version("finetuned_ckpt"), loop.labelled()
    release = loop.made("release")
    loop.drop("tuesday", labels(ITEMS[280:320], agreeing=False))
    verdicts = loop.until(
        "verdict",
        lambda: [row for row in loop.table("batch_verdicts") if row["batch"] == "tuesday"],
    )
    assert verdicts[0]["verdict"] == "refused"
    loop.until("alert", lambda: any("tuesday" in each["message"] for each in loop.alerts()))
    looks = loop.looks()
    loop.until("two looks later", lambda: loop.looks() > looks + 2 and not loop.open_runs())
    assert loop.version("finetuned_ckpt") == model
    assert loop.made("release") == release
    assert loop.labelled() == labelled


def five_batches_come_and_the_machine_dies(loop: Loop) -> None:
    """Every label is in, after at most two trainings, though everything was killed in the middle of
    one and nothing but the servers was started again.
    """
    before, trained = loop.labelled(), loop.made("finetuned_ckpt")
    chosen = ITEMS[320:400]
    for number in range(5):
        loop.drop(f"part{number}", labels(chosen[number::5]))
        time.sleep(1)  # one after the other, as people do
    work = loop.project.root / "data" / "work" / "tiny" / "finetuned_ckpt"
    loop.until("training", lambda: list(work.rglob("last.safetensors")), every=0.02)
    loop.kill()
    assert loop.open_runs()
    loop.start()

    five = {f"part{number}" for number in range(5)}
    loop.until("release of all five", lambda: five <= loop.batches() and loop.in_release())
    assert len(loop.labelled() - before) > 0.8 * len(chosen)  # some are near duplicates
    assert 1 <= loop.made("finetuned_ckpt") - trained <= 2
    assert loop.manifest["start"] == "warm"
    assert loop.manifest["new_items"] > 0
    # The training went on where it was, and left nothing behind.
    log = (loop.project.current("finetuned_ckpt") / "training_log.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in log.splitlines() if "batch_loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    assert not list(work.rglob("*.safetensors"))
    # An unbroken build would have come to the same.
    loop.until("end", lambda: not not_up_to_date(loop.project), every=2)
