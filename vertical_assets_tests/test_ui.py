"""The UI as `make ui` starts it, in headless Chromium: graphs, pages, and a click that builds."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from vertical_assets_tests.conftest import ROOT, Project, free_port, stop
from vertical_assets_tests.test_build import instance_of

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed (Debian package chromium)"
)


def serve(root: Path, environment: dict[str, str]) -> Iterator[str]:
    """`make ui` in a folder; yields its address once it answers."""
    for name in ("Makefile", "workspace.yaml", "pyproject.toml", "constraints.txt"):
        if not (root / name).exists():
            shutil.copy(ROOT / name, root)
    (root / ".venv").symlink_to(sys.prefix)
    port = free_port()
    with (root / "ui.log").open("w") as log:
        process = subprocess.Popen(
            # -o: the environment that runs this test is the one to use, as it is.
            ["make", "ui", f"PORT={port}", "-o", ".venv/.installed"],
            cwd=root,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/server_info", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (root / "ui.log").read_text()
                assert time.monotonic() < deadline, "the web server did not answer in two minutes"
                time.sleep(0.5)
        yield address
    finally:
        stop(process)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(60_000)
        yield context.new_page()
        browser.close()


def test_every_vertical_shows_its_lineage(page: Any, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VERTICAL_")}
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    for address in serve(tmp_path, {**environment, "DAGSTER_HOME": str(tmp_path)}):
        for vertical in ("education", "medical", "reviews"):
            page.goto(f"{address}/assets/{vertical}/clean_corpus?view=lineage")
            for neighbour in ("valid_corpus", "dedup_corpus"):
                page.get_by_text(neighbour, exact=True).first.wait_for()


def test_materializing_by_a_click(page: Any, copy_of_built: Project) -> None:
    root, asset = copy_of_built.root, dg.AssetKey(["tiny", "valid_corpus"])
    shutil.copy(ROOT / "workspace.yaml", root)
    for address in serve(root, copy_of_built.environment):
        page.goto(f"{address}/assets/tiny/valid_corpus")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_role("button", name="Confirm").click()  # quarantine comes with it
        deadline = time.monotonic() + 120
        with instance_of(copy_of_built) as instance:
            while len(made := instance.fetch_materializations(asset, limit=3).records) < 2:
                assert time.monotonic() < deadline, (root / "ui.log").read_text()[-4000:]
                time.sleep(0.5)
        page.goto(f"{address}/runs/{made[0].run_id}")
        page.get_by_text("Success", exact=True).first.wait_for()
        page.goto(f"{address}/assets/tiny/valid_corpus?view=events")
        page.get_by_text("dagster/row_count").first.wait_for()
