"""The corpus stage from files to deduplicated documents: speed and peak memory of every step.

Makes a mixed corpus (Chinese and English; JSON lines, CSV, Parquet, compressed lines; a tenth exact
and a tenth near duplicates, see known_duplicates.py), runs the steps on it as the assets do, then
adds 1 % new documents and runs them again.

    python benchmarks/corpus.py [--quick | --megabytes 1024]

Every step runs in a process of its own, so that its peak memory is its own, with that of the
processes it starts. Checks of the assets (Great Expectations, no text kept twice) are included.
Ends with a JSON line.
"""

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from known_duplicates import corpus
from rich.console import Console
from rich.table import Table as Grid
from upath import UPath

from vertical_assets.spec import VerticalSpec

STEPS = ("raw_corpus", "valid_corpus", "clean_corpus", "dedup_corpus")
FORMATS = ("jsonl", "csv", "parquet", "lines")
FILE_BYTES = 16 << 20
SEED = 20240501
TODAY = date(2024, 5, 1)


def specification() -> VerticalSpec:
    """A vertical with one source per format; everything else by default."""
    patterns = {"jsonl": "*.jsonl", "csv": "*.csv", "parquet": "*.parquet", "lines": "*.txt.gz"}
    return VerticalSpec.model_validate(
        {
            "name": "benchmark",
            "domain": "mixed",
            "language": "zh",
            "sources": [
                {"name": name, "kind": "user", "licence": "own", "path": pattern}
                for name, pattern in patterns.items()
            ],
            "clean": {"numbers": "digits"},
            "task": {"name": "none", "labels": {"a": "a", "b": "b"}},
            "annotation": {"simulate": {"gold": "none"}},
            "model": {"base": "scratch"},
        }
    )


def documents(size: int, seed: int) -> Iterator[str]:
    """About `size` bytes of texts, Chinese and English by turns, with their duplicates."""
    streams = [
        (text for batch in corpus(10**9, language, 300, seed) for text in batch["text"].to_pylist())
        for language in ("zh", "en")
    ]
    while size > 0:
        for stream in streams:
            text = next(stream)
            size -= len(text.encode())
            yield text


def write_files(folder: Path, megabytes: float, prefix: str, seed: int) -> int:
    """Files of all formats; returns the rows."""
    count = 0
    rows = (
        {"id": f"{prefix}{n}", "text": t}
        for n, t in enumerate(documents(int(megabytes * 2**20), seed))
    )
    number = 0
    chunk: list[dict[str, str]] = []
    held = 0

    def flush() -> None:
        nonlocal number
        kind = FORMATS[number % len(FORMATS)]
        name = folder / f"{prefix}{number:04d}"
        if kind == "jsonl":
            lines = (json.dumps(row, ensure_ascii=False) for row in chunk)
            name.with_suffix(".jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        elif kind == "csv":
            with name.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["id", "text"])
                writer.writeheader()
                writer.writerows(chunk)
        elif kind == "parquet":
            pq.write_table(pa.Table.from_pylist(chunk), name.with_suffix(".parquet"))
        else:
            with gzip.open(
                name.with_suffix(".txt.gz"), "wt", compresslevel=1, encoding="utf-8"
            ) as file:
                file.writelines(f"{row['text']}\n" for row in chunk)
        number += 1

    file_bytes = min(FILE_BYTES, int(megabytes * 2**20 / len(FORMATS)))
    for row in rows:
        chunk.append(row)
        held += len(row["text"].encode())
        count += 1
        if held >= file_bytes:
            flush()
            chunk, held = [], 0
    if chunk:
        flush()
    return count


def run_step(step: str, root: UPath, data: UPath) -> dict[str, Any]:
    """One step in this process; returns its figures."""
    from vertical_assets.corpus import flow
    from vertical_assets.corpus.validity.expectations import validate_new
    from vertical_assets.store import Table, contracts
    from vertical_assets.store.tables import TableWriter, previous_version
    from vertical_assets.store.tombstones import Tombstones
    from vertical_assets.store.versions import commit, current

    spec = specification()

    def writer(schema: pa.Schema, *asset: str) -> TableWriter:
        return TableWriter(root, schema, previous_version(root.joinpath(*asset)))

    started, made, rows = time.monotonic(), 0, 0
    outputs: dict[tuple[str, ...], TableWriter] = {}
    if step == "raw_corpus":
        for source in spec.sources:
            raw = writer(contracts.RAW_DOCUMENTS, step, source.name)
            flow.collect(source, spec, data, Tombstones(), raw)
            outputs[(step, source.name)] = raw
            rows += raw.rows
    elif step == "valid_corpus":
        raw_table = Table(tuple(current(root / "raw_corpus" / name) for name in spec.source_names))
        valid = writer(contracts.DOCUMENTS, step)
        quarantine = writer(contracts.QUARANTINE, "quarantine")
        flow.sort_out(raw_table, spec, TODAY, valid, quarantine)
        outcomes = validate_new(valid, spec, None, today=TODAY)
        assert all(outcome.passed for outcome in outcomes), outcomes
        outputs = {(step,): valid, ("quarantine",): quarantine}
        rows = raw_table.rows
    elif step == "clean_corpus":
        cleaned = writer(contracts.CLEAN_DOCUMENTS, step)
        table = Table((current(root / "valid_corpus"),))
        flow.clean(table, spec, data, cleaned)
        outputs, rows = {(step,): cleaned}, table.rows
    else:
        table = Table((current(root / "clean_corpus"),))
        kept = writer(contracts.DEDUP_DOCUMENTS, step)
        dropped = writer(contracts.DUPLICATES, "duplicates")
        sketches = writer(flow.SKETCHES, "sketches")
        flow.deduplicate(table, spec, kept, dropped, sketches)
        assert flow.distinct_texts(kept.staged)[0] == kept.rows
        outputs = {(step,): kept, ("duplicates",): dropped, ("sketches",): sketches}
        rows = table.rows
    for asset, output in outputs.items():
        made += output.made
        commit(output.close(), root.joinpath(*asset))
    return {"rows": rows, "made": made, "seconds": time.monotonic() - started}


def peak_of(process: subprocess.Popen[str]) -> float:
    """Greatest memory of a process and its children together, in MB, looked at 20 times a second.

    What children share with each other, the interpreter's files for instance, counts for each.
    """
    peak = 0
    while process.poll() is None:
        try:
            step = psutil.Process(process.pid)
            family = [step, *step.children(recursive=True)]
            peak = max(peak, sum(each.memory_info().rss for each in family))
        except psutil.NoSuchProcess:
            continue  # one of them has just ended
        time.sleep(0.05)
    return peak / 2**20


def run_all(
    root: Path, data: Path, megabytes: float, title: str, console: Console
) -> dict[str, Any]:
    grid = Grid("step", "rows", "parts made", "seconds", "rows/s", "MB/s", "peak MB", title=title)
    total, peak, figures = 0.0, 0.0, dict[str, Any]()
    for step in STEPS:
        command = [
            sys.executable,
            __file__,
            "--step",
            step,
            "--root",
            str(root),
            "--data",
            str(data),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            peak_mb = peak_of(process)
            said = process.stdout.read() if process.stdout else ""
        if process.returncode:
            raise SystemExit(process.returncode)
        found = json.loads(said.splitlines()[-1]) | {"peak_mb": peak_mb}
        total, peak = total + found["seconds"], max(peak, found["peak_mb"])
        figures[step] = found
        grid.add_row(
            step,
            f"{found['rows']:,}",
            str(found["made"]),
            f"{found['seconds']:.1f}",
            f"{found['rows'] / found['seconds']:,.0f}",
            f"{megabytes / found['seconds']:.1f}",
            f"{found['peak_mb']:.0f}",
        )
    console.print(grid)
    return {"seconds": total, "peak_mb": peak, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="24 MB instead of 1 GB")
    parser.add_argument("--megabytes", type=float, default=1024.0)
    for hidden in ("--step", "--root", "--data"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(run_step(options.step, UPath(options.root), UPath(options.data))))
        return
    megabytes = 24.0 if options.quick else options.megabytes
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        data, root = Path(folder) / "data", Path(folder) / "store"
        data.mkdir()
        rows = write_files(data, megabytes, "first", SEED)
        full = run_all(root, data, megabytes, f"{rows:,} documents, {megabytes:.0f} MB", console)
        added = write_files(data, megabytes / 100, "added", SEED + 1)
        more = run_all(root, data, megabytes / 100, f"after {added:,} more", console)
    print(
        json.dumps(
            {
                "megabytes": megabytes,
                "rows": rows,
                "seconds": round(full["seconds"], 1),
                "mb_per_s": round(megabytes / full["seconds"], 2),
                "rows_per_s": round(rows / full["seconds"]),
                "peak_mb": round(max(full["peak_mb"], more["peak_mb"])),
                "added_share_of_full": round(more["seconds"] / full["seconds"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
