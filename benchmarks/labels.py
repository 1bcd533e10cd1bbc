"""People's labels at a million: import, agreement and aggregation, beside their peers.

    python benchmarks/labels.py            1,000,000 annotations, five on each of 200,000 items
    python benchmarks/labels.py --quick    50,000 annotations, under 45 seconds

Items have one of five classes, not equally many, and 200 annotators label what chance gives them:
each knows the class with a probability of their own (0.55 to 0.95) and else guesses by a habit of
their own. The annotations are written to a file as people drop it (JSON lines), with one row in
10,000 that breaks the label standard.

ours: the file to ANNOTATIONS through the reader of the asset `annotations`; the whole agreement
report (alpha with 1,000 bootstrap rounds and AC1, over all, by class, pair and
annotator); Dawid and Skene's model. One process does all three; its memory counts from before the
import, Python and libraries included.
crowd-kit: its DawidSkene, as its documentation calls it, on the same annotations as a data frame.
krippendorff loop: the 1,000 rounds as the library has them done, units drawn and `alpha` called
round by round. A few rounds are measured and multiplied: the figure is extrapolated.

right: share of the items whose label is the true one; a tie counts as wrong.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from vertical_assets.labels.items import Items
    from vertical_assets.spec import VerticalSpec

CLASSES = ["billing", "delivery", "product", "praise", "other"]
SHARES = [0.35, 0.25, 0.2, 0.15, 0.05]
ANNOTATORS, PER_ITEM, ROUNDS = 200, 5, 1000
BROKEN = 10_000  # one row in so many
SOURCE = "shop"


def truth_of(items: int) -> np.ndarray:
    """Each item's class."""
    return np.random.default_rng(items).choice(len(CLASSES), items, p=SHARES)


def write(file: Path, items: int) -> int:
    """Drops a batch of annotations; the number of its rows."""
    import orjson

    rng = np.random.default_rng(items + 1)
    knowing = rng.uniform(0.55, 0.95, ANNOTATORS)
    habits = rng.dirichlet(np.full(len(CLASSES), 0.7), ANNOTATORS).cumsum(axis=1)
    truth = truth_of(items)
    with file.open("wb") as out:
        for start in range(0, items, 10_000):
            block = np.arange(start, min(start + 10_000, items))
            who = rng.random((len(block), ANNOTATORS)).argpartition(PER_ITEM)[:, :PER_ITEM]
            guess = (rng.random(who.shape)[..., None] > habits[who]).sum(axis=2)
            knew = rng.random(who.shape) < knowing[who]
            said = np.where(knew, truth[block, None], np.minimum(guess, len(CLASSES) - 1))
            lines = (
                {
                    "source": SOURCE,
                    "id": str(item),
                    "annotator_id": f"annotator {annotator:03}",
                    "label": CLASSES[label],
                    "created_at": f"2026-05-{1 + item % 28:02}T10:{item % 60:02}:00",
                }
                for item, people, labels in zip(
                    block.tolist(), who.tolist(), said.tolist(), strict=True
                )
                for annotator, label in zip(people, labels, strict=True)
            )
            out.writelines(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        wrong = items * PER_ITEM // BROKEN
        for item in range(wrong):
            line = {"source": SOURCE, "id": str(item), "annotator_id": "x", "label": "unheard of"}
            out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return items * PER_ITEM + wrong


def spec(aggregation: str = "dawid_skene") -> "VerticalSpec":
    from vertical_assets.spec import VerticalSpec

    return VerticalSpec.model_validate(
        {
            "name": "benchmark",
            "domain": "any",
            "language": "en",
            "sources": [{"name": SOURCE, "kind": "user", "licence": "", "path": "*"}],
            "task": {
                "name": "topic",
                "labels": {name: name for name in CLASSES},
                "aggregation": aggregation,
            },
            "annotation": {"path": "annotations/*"},
            "agreement": {"bootstrap": ROUNDS},
            "model": {"base": "scratch"},
        }
    )


# What is measured, each in a process of its own: file and number of items -> figures.


def ours(file: Path, items: int) -> dict[str, float]:
    """Import, agreement, Dawid and Skene, one after the other."""
    from vertical_assets.labels.aggregation import aggregate
    from vertical_assets.labels.agreement import agreement_report

    corpus = known(items)
    start = time.perf_counter()
    annotations, rows = read(file, corpus)
    read_at = time.perf_counter()
    report = agreement_report(annotations, spec()).to_pylist()
    reported = time.perf_counter()
    found = aggregate(annotations, spec())
    end, cpu = time.perf_counter(), time.process_time()
    alpha = report[0]
    return {
        "rows": rows,
        "import_s": read_at - start,
        "agreement_s": reported - read_at,
        "dawid_skene_s": end - reported,
        "total_s": end - start,
        "cpu_s": cpu,
        "alpha": alpha["value"],
        "low": alpha["low"],
        "high": alpha["high"],
        "figures": len(report),
        "right": right(found["item_id"], found["label"].to_pylist(), items),
        "majority_right": right(
            *(aggregate(annotations, spec("majority"))[c] for c in ("item_id", "label")), items
        ),
    }


def crowdkit(file: Path, items: int) -> dict[str, float]:
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    annotations, _ = read(file, known(items))
    frame = pd.DataFrame(
        {
            "task": annotations["item_id"].to_pandas(),
            "worker": annotations["annotator_id"].to_pandas(),
            "label": annotations["label"].to_pandas(),
        }
    )
    del annotations
    start = time.perf_counter()
    model = DawidSkene(n_iter=100)
    labels = model.fit_predict(frame)
    seconds = time.perf_counter() - start
    return {
        "dawid_skene_s": seconds,
        "rounds": len(model.loss_history_),
        "right": right(labels.index.tolist(), labels.tolist(), items),
    }


def krippendorff_loop(file: Path, items: int) -> dict[str, float]:
    import krippendorff

    from vertical_assets.labels.votes import votes_of

    annotations, _ = read(file, known(items))
    counts = votes_of(annotations, CLASSES).counts
    del annotations
    rng, found = np.random.default_rng(0), []
    rounds = max(5, min(100, 1_000_000 // items))
    start = time.perf_counter()
    for _ in range(rounds):
        drawn = counts[rng.integers(0, len(counts), len(counts))]
        found.append(krippendorff.alpha(value_counts=drawn, level_of_measurement="nominal"))
    seconds = time.perf_counter() - start
    return {
        "rounds": rounds,
        "seconds": seconds,
        "loop_s": seconds / rounds * ROUNDS,
        "alpha": float(np.mean(found)),
    }


def known(items: int) -> "Items":
    """The documents that may be spoken of."""
    from vertical_assets.corpus.reading.sources import document_id
    from vertical_assets.labels.items import Items

    ids = frozenset(document_id(SOURCE, str(item)) for item in range(items))
    return Items(ids, {}, {}, frozenset())


def read(file: Path, corpus: "Items") -> "tuple[pa.Table, int]":
    """ANNOTATIONS of the batch, as the asset reads them, and how many rows the file has."""
    from upath import UPath

    from vertical_assets.labels.annotations import read_annotations

    found = read_annotations(spec(), corpus, [UPath(file)], "batch")
    assert found.conserved
    assert found.rejected.num_rows == len(corpus.known) * PER_ITEM // BROKEN
    return found.annotations, found.rows


def right(ids: Any, labels: Any, items: int) -> float:
    from vertical_assets.corpus.reading.sources import document_id

    truth = {document_id(SOURCE, str(n)): CLASSES[code] for n, code in enumerate(truth_of(items))}
    pairs = zip(map(str, ids), map(str, labels), strict=True)
    return sum(truth[item] == label for item, label in pairs) / items


ENGINES = {"ours": ours, "crowd-kit": crowdkit, "krippendorff loop": krippendorff_loop}


def run(engine: str, file: Path, items: int) -> dict[str, float] | None:
    """One engine in a new process; None, with the reason told, where it is not there."""
    command = [sys.executable, __file__, "--measure", engine, str(file), str(items)]
    quiet = {**os.environ, "TQDM_DISABLE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=quiet)
    if result.returncode:
        print(f"  {engine:20} failed: {(result.stderr.strip().splitlines() or ['?'])[-1][:100]}")
        return None
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a first look, under 45 seconds")
    parser.add_argument("--items", type=int, help="items, instead of the usual number")
    parser.add_argument("--only", help="comma-separated engines")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        engine, name, number = options.measure
        figures = ENGINES[engine](Path(name), int(number))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**figures, "peak_mb": peak}))
        return
    items = options.items or (10_000 if options.quick else 200_000)
    engines = options.only.split(",") if options.only else list(ENGINES)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.jsonl"
        rows = write(file, items)
        size = file.stat().st_size / 1e6
        print(f"{rows:,} rows of {ANNOTATORS} annotators on {items:,} items, {size:,.0f} MB\n")
        print(f"  {'engine':20} {'step':32} {'seconds':>9} {'peak MB':>9} {'right':>8}")
        for engine in engines:
            figures = run(engine, file, items)
            if figures is not None:
                found[engine] = figures
                show(engine, figures)
    mine = found.get("ours", {})
    summary: dict[str, Any] = {"annotations": items * PER_ITEM}
    for key in ("import_s", "agreement_s", "dawid_skene_s", "total_s", "peak_mb", "right"):
        summary[key] = _rounded(mine.get(key))
    summary["majority_right"] = _rounded(mine.get("majority_right"))
    summary["crowdkit_dawid_skene_s"] = _rounded(found.get("crowd-kit", {}).get("dawid_skene_s"))
    summary["crowdkit_right"] = _rounded(found.get("crowd-kit", {}).get("right"))
    summary["krippendorff_loop_s"] = _rounded(found.get("krippendorff loop", {}).get("loop_s"))
    print(json.dumps(summary))


def show(engine: str, figures: dict[str, float]) -> None:
    """The rows of the table."""

    def line(step: str, seconds: float, right: float | None = None) -> None:
        share = "" if right is None else f"{right:8.4f}"
        print(
            f"  {engine:20} {step:32} {seconds:9.1f} {figures['peak_mb']:9,.0f} {share}", flush=True
        )

    if engine == "ours":
        line("import", figures["import_s"])
        line(f"agreement, {ROUNDS:,} rounds", figures["agreement_s"])
        line("Dawid-Skene", figures["dawid_skene_s"], figures["right"])
        line("all three", figures["total_s"])
        print(
            f"  {'':20} alpha {figures['alpha']:.4f}, 95 % interval {figures['low']:.4f} to "
            f"{figures['high']:.4f}; {figures['figures']:,.0f} figures in the report; a majority "
            f"has {figures['majority_right']:.4f} right; {figures['cpu_s']:.0f} s of processor time"
        )
    elif engine == "crowd-kit":
        line(
            f"Dawid-Skene, {figures['rounds']:.0f} rounds",
            figures["dawid_skene_s"],
            figures["right"],
        )
    else:
        line(f"{ROUNDS:,} rounds, extrapolated", figures["loop_s"])
        print(
            f"  {'':20} from {figures['rounds']:.0f} rounds in {figures['seconds']:.1f} s; their "
            f"mean alpha {figures['alpha']:.4f}"
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4 if value <= 1 else 1)


if __name__ == "__main__":
    main()
