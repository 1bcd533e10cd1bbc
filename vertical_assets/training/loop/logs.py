"""What a training tells while it runs: JSON lines, TensorBoard, live figures (SPEC T10, T11)."""

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.processes import own_part

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

VALUES_OF_HISTOGRAM = 50_000  # most values of a tensor that a histogram looks at


@dataclass(frozen=True)
class Watch:
    """Who is told of a training while it runs."""

    board: Path | None = None  # folder of TensorBoard's files
    live: Callable[[dict[str, float]], None] | None = None  # figures at every validation
    say: Callable[[str], None] = logging.getLogger(__name__).info  # what was chosen, and why


def board_folder(vertical: str, asset: str, run: str) -> Path:
    """TensorBoard's folder of one run, under `VERTICAL_TENSORBOARD` or `data/tensorboard`."""
    root = Path(os.environ.get("VERTICAL_TENSORBOARD", "data/tensorboard"))
    return root / vertical / asset / run


class StepLog(Callback):
    """JSON lines with epoch, step, batch_loss, learning_rate, tokens_per_s and, at validations,
    val_loss, val_accuracy and the like (SPEC T10).

    Args:
        path: of the file; a resumed run goes on with it.
        steps: the line of steps.
        tokens: of each step's batch, without padding.
    """

    def __init__(self, path: Path, steps: Steps, tokens: np.ndarray) -> None:
        self.path, self.steps, self.tokens = path, steps, tokens
        self.since = self.rate = 0.0
        self.loss = float("nan")  # of the last step, of all its batches
        self.losses: list[torch.Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run forgets what was logged after its checkpoint."""
        if trainer.is_global_zero and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("}\n")]
            kept = [line for line in whole if json.loads(line)["step"] <= trainer.global_step]
            self.path.write_text("".join(kept))
        self.since = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.rate = rate_of(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, idx: int
    ) -> None:
        self.losses.append(outputs["loss"])
        if within_step(trainer, idx):
            return
        # Lightning has divided each loss by their number.
        loss = trainer.strategy.reduce(torch.stack(self.losses).sum(), reduce_op="mean")
        self.losses = []
        now = time.perf_counter()
        tokens = int(self.tokens[trainer.global_step - 1])
        if trainer.is_global_zero:
            self.loss = float(loss)
            self._write(
                trainer.global_step,
                batch_loss=self.loss,
                learning_rate=self.rate,
                tokens_per_s=round(tokens / max(1e-9, now - self.since)),
            )
        self.since = now

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._write(trainer.global_step, **validated(trainer))
        self.since = time.perf_counter()

    def _write(self, step: int, **values: float) -> None:
        epoch = (step - 1) / self.steps.steps_per_epoch
        line = {"epoch": round(max(0.0, epoch), 4), "step": step, "of": self.steps.total, **values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def within_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether further batches are added up before the optimizer's step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches != 0


def rate_of(trainer: pl.Trainer) -> float:
    """Learning rate of the first parameter group; at a batch's end it is the next batch's."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def validated(trainer: pl.Trainer) -> dict[str, float]:
    """Figures of the validation that has just ended."""
    metrics = trainer.callback_metrics.items()
    return {name: float(value) for name, value in metrics if name.startswith("val_")}


class Board(Callback):
    """TensorBoard: loss and learning rate by step, metrics and the distribution of each weight
    matrix at every validation (SPEC T11).

    Args:
        folder: of its files.
        log: a callback before this one, which knows each step's loss and learning rate.
    """

    def __init__(self, folder: Path, log: StepLog) -> None:
        self.folder, self.step_log = folder, log
        self.writer: SummaryWriter | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=trainer.global_step or None)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, idx: int
    ) -> None:
        if self.writer is not None and not within_step(trainer, idx):
            step = trainer.global_step
            self.writer.add_scalar("batch_loss", self.step_log.loss, step)
            self.writer.add_scalar("learning_rate", self.step_log.rate, step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.writer is not None:
            for name, value in validated(trainer).items():
                self.writer.add_scalar(name, value, trainer.global_step)
            for name, parameter in pl_module.named_parameters():
                if parameter.ndim >= 2 and parameter.requires_grad:
                    # Of weights that are divided among processes, this one's part stands for all.
                    values = own_part(parameter).detach().flatten()
                    every = -(-values.numel() // VALUES_OF_HISTOGRAM)
                    # A copy: what NumPy has seen can't be divided again.
                    chosen = values[::every].to("cpu", torch.float32, copy=True).numpy()
                    self.writer.add_histogram(name, chosen, trainer.global_step)
            self.writer.flush()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.writer is not None:
            self.writer.close()


class Live(Callback):
    """Hands step, loss and the metrics of every validation to `tell`; `log` as for `Board`."""

    def __init__(self, tell: Callable[[dict[str, float]], None], log: StepLog) -> None:
        self.tell, self.step_log = tell, log

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {"step": float(trainer.global_step), "batch_loss": self.step_log.loss}
        self.tell({**figures, **validated(trainer)})


def read_log(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a training."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def as_csv(log: Sequence[Mapping[str, Any]]) -> str:
    """The log as CSV, one row per step and per validation (SPEC T10); empty where a line has no
    such figure.
    """
    columns = list(dict.fromkeys(name for line in log for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(log)
    return out.getvalue()


def loss_curves(log: list[dict[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Lines for a picture: the training loss, averaged over 20 steps, and the held-out loss."""
    batches = [(line["step"], line["batch_loss"]) for line in log if "batch_loss" in line]
    window = 20
    smooth = [
        (batches[place][0], float(np.mean([loss for _, loss in batches[place - window : place]])))
        for place in range(window, len(batches), max(1, len(batches) // 200))
    ]
    held = [(line["step"], line["val_loss"]) for line in log if "val_loss" in line]
    return {
        name: ([x for x, _ in points], [y for _, y in points])
        for name, points in (("training", smooth or batches), ("held out", held))
    }
