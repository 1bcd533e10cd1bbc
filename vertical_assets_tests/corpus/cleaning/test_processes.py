"""Cleaning in processes gives what cleaning in one gives, in the same order."""

import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.cleaning.pipeline import Cleaning
from vertical_assets.corpus.cleaning.processes import Workers, cleaned_batches
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets_tests.conftest import ROOT, reviews, tiny


def test_processes_clean_as_one_does(tmp_path: UPath) -> None:
    spec = VerticalSpec(**tiny(clean={"numbers": "digits", "simplify": True}))
    given = [f"{row['text']} 电话13800138000，花了三百五十元" for row in reviews(60)]
    blank = dict.fromkeys(DOCUMENTS.names, "")
    rows = [{**blank, "doc_id": str(n), "text": text, "meta": "{}"} for n, text in enumerate(given)]
    batches = pa.Table.from_pylist(rows, DOCUMENTS).to_batches(7)
    cleaning = Cleaning(spec, UPath(tmp_path))
    alone = list(cleaned_batches(batches, cleaning, None))
    with Workers(spec, UPath(tmp_path)) as workers:
        together = list(cleaned_batches(batches, cleaning, workers))
    assert together == alone
    assert sum(counts["numbers\tdigits"] for _, counts, _ in alone) >= 60
    assert "13800138000" not in str(alone[0][0]["text"].to_pylist())


HELD = """
import sys, time
import pyarrow as pa
from upath import UPath
from vertical_assets.corpus.cleaning.processes import Workers
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets_tests.conftest import tiny

if __name__ == "__main__":
    with Workers(VerticalSpec(**tiny(deidentify={"enabled": False})), UPath(".")) as workers:
        list(workers.map([pa.RecordBatch.from_pylist([], DOCUMENTS)] * 4))
        print("ready", flush=True)
        time.sleep(60)
"""


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    file = tmp_path / "held.py"
    file.write_text(HELD)
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    with subprocess.Popen(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
