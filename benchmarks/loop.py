"""The closed loop on a vertical that is built: from a file of labels to the decision on a release.

Copies the vertical's store and the Dagster instance into a temporary folder (what you have stays as
it is), starts there what `make ui` starts, drops one file of labels into `annotations/` once the
web server answers, and waits. Nothing else is done. Prints when which asset was made, and ends with
a JSON line.

    python benchmarks/loop.py [reviews] [--items 200] [--minutes 30]
    python benchmarks/loop.py --quick      # what it would do, and whether the vertical is ready

Two annotators say of some items what is known of them; so the labels are sure to pass the gate, and
what is measured is the loop.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table as Grid
from upath import UPath

from vertical_assets.project import enter_project
from vertical_assets.store import Table, store_root
from vertical_assets.store.versions import current

CLASSIFIES = "label"  # column of labeled_set that a classification has
LOOK_SECONDS = 10  # what is reported are Dagster's own times; looking often would cost some
CARRIED = ("dagster.yaml", "workspace.yaml", "pyproject.toml")
OPEN = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
console = Console(width=None if sys.stdout.isatty() else 110)


def batch(vertical: str, items: int) -> list[dict[str, Any]]:
    """Rows of two annotators about the first items, by name, that have a gold label."""
    labeled = Table((current(store_root() / vertical / "labeled_set"),)).read()
    if CLASSIFIES not in labeled.column_names or labeled[CLASSIFIES].null_count:
        raise SystemExit(f"{vertical} is no classification; name one that is")
    first = labeled.take(pc.sort_indices(labeled["item_id"])).slice(0, items)
    pairs = zip(first["item_id"].to_pylist(), first[CLASSIFIES].to_pylist(), strict=True)
    return [
        {"item_id": item, "annotator_id": who, "label": label}
        for item, label in pairs
        for who in ("benchmark-1", "benchmark-2")
    ]


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_of_project(vertical: str, folder: Path) -> dict[str, str]:
    """A project with the same definitions, instance and store; returns its environment."""
    for name in CARRIED:
        shutil.copy(name, folder)
    shutil.copytree("data/dagster", folder / "data" / "dagster")
    shutil.copytree(f"data/store/{vertical}", folder / "data" / "store" / vertical)
    if Path("data/mlflow.db").exists():
        shutil.copy("data/mlflow.db", folder / "data")
    if Path("data", vertical).exists():
        shutil.copytree(f"data/{vertical}", folder / "data" / vertical)
    return {**os.environ, "DAGSTER_HOME": str(folder), "PYTHONPATH": str(Path.cwd())}


def made_since(instance: dg.DagsterInstance, vertical: str, begin: float) -> dict[str, Any]:
    """Asset -> its latest materialization after `begin`."""
    found = {}
    for key in instance.get_asset_keys(prefix=[vertical]):
        chosen = dg.AssetRecordsFilter(key, after_timestamp=begin)
        for record in instance.fetch_materializations(chosen, limit=1).records:
            found[key.path[-1]] = record
    return found


def wait_for_servers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits until the web server answers."""
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5)
            return
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the web server did not answer: {log.read_text()[-2000:]}")


def wait_for_release(vertical: str, begin: float, deadline: float) -> dict[str, Any]:
    """Waits until a release is decided on; returns what was made."""
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        while time.time() < deadline:
            time.sleep(LOOK_SECONDS)
            if instance.get_runs(dg.RunsFilter(statuses=OPEN), limit=1):
                continue
            made = made_since(instance, vertical, begin)
            trained = made.get("finetuned_ckpt")
            decided = made.get("release") or made.get("quantized_artifact")
            if trained and decided and decided.storage_id > trained.storage_id:
                return made
    raise SystemExit("no release was decided on in time; the servers' log says more")


def measure(vertical: str, items: int, minutes: float) -> dict[str, Any]:
    """Runs the loop once in a copy; prints the time line and returns its figures."""
    rows = batch(vertical, items)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = copy_of_project(vertical, folder)
        os.chdir(folder)
        os.environ["DAGSTER_HOME"] = str(folder)
        port, log = free_port(), folder / "servers.log"
        servers = subprocess.Popen(
            [
                *(Path(sys.prefix) / "bin" / "dagster", "dev", "-w", "workspace.yaml"),
                *("-h", "127.0.0.1", "-p", str(port)),
            ],
            env=environment,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for_servers(port, servers, log)
            drop = folder / "data" / vertical / "annotations"
            drop.mkdir(parents=True, exist_ok=True)
            begin = time.time()
            partial = drop / "benchmark.jsonl.part"
            partial.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            partial.rename(drop / "benchmark.jsonl")
            made = wait_for_release(vertical, begin, begin + 60 * minutes)
        finally:
            os.killpg(servers.pid, signal.SIGKILL)  # a copy: nothing is lost
            servers.wait(60)
            os.chdir(home)
        ordered = sorted(made.items(), key=lambda each: each[1].timestamp)
        grid = Grid("asset", "made after", "run", title=f"{vertical}: {len(rows)} labels dropped")
        for name, record in ordered:
            grid.add_row(name, f"{record.timestamp - begin:.0f} s", record.run_id[:8])
        console.print(grid)
        decided = made.get("release") or made["quantized_artifact"]
        manifest = UPath(folder / "data/store" / vertical / "finetuned_ckpt")
        trained = json.loads((current(manifest) / "manifest.json").read_text())
        return {
            "vertical": vertical,
            "labels": len(rows),
            "seconds_to_agreement": round(made["agreement_report"].timestamp - begin),
            "seconds_to_model": round(made["finetuned_ckpt"].timestamp - begin),
            "seconds_to_release": round(decided.timestamp - begin),
            "start": trained.get("start", "cold"),
            "runs": len({record.run_id for record in made.values()}),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("vertical", nargs="?", default="reviews")
    parser.add_argument("--items", type=int, default=200, help="Items that are labelled again.")
    parser.add_argument("--minutes", type=float, default=30, help="Patience.")
    parser.add_argument("--quick", action="store_true", help="Only look whether it can be run.")
    arguments = parser.parse_args()
    enter_project()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with it
    if arguments.quick:
        ready = (store_root() / arguments.vertical / "finetuned_ckpt" / "CURRENT.json").exists()
        console.print(f"{arguments.vertical} is {'' if ready else 'not '}built")
        print(json.dumps({"vertical": arguments.vertical, "ready": ready}))
        return
    try:
        figures = measure(arguments.vertical, arguments.items, arguments.minutes)
    except FileNotFoundError as error:
        raise SystemExit(
            f"{error}; first run: vertical-assets build {arguments.vertical}"
        ) from error
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
