"""The loop: one way to train a module with Lightning, killed and resumed at the step.

All epochs are one line of steps. Every random draw of a step (dropout, masking) is seeded by the
step's number, so that a resumed run goes on exactly where the killed one would have gone.
"""

import json
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import disable_possible_user_warnings
from torch.utils.data import DataLoader, Dataset

from vertical_assets.store.versions import LOG
from vertical_assets.training.batches import Steps
from vertical_assets.training.checkpoint_io import SafeCheckpointIO, global_step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAST, BEST = "last.safetensors", "best.safetensors"
CLIP_NORM = 1.0  # Pascanu et al. 2013; the value of BERT's own training

Collate = Callable[[np.ndarray], tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    learning_rate: float
    weight_decay: float
    head_factor: float
    warmup: float
    checkpoint_steps: int
    seed: int
    monitor: str  # the validation metric that decides which weights are kept
    mode: str  # min | max
    patience: int | None = None  # validations without gain until the run stops (SPEC M13)
    validations: int = 1  # times that the run is validated


class Batches:
    """Collated batches from where the run stands; sized, so that Lightning knows the end."""

    def __init__(self, steps: Steps, collate: Collate) -> None:
        self.steps, self.collate = steps, collate

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        return map(self.collate, self.steps.rows())


class TrainingModule(pl.LightningModule):
    """What all trainings share: AdamW, linear cold start, then a cosine (SPEC T7, T8)."""

    def __init__(self, model: "PreTrainedModel", plan: Plan, total_steps: int) -> None:
        super().__init__()
        self.model, self.plan, self.total_steps = model, plan, total_steps

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(self.plan.seed + self.global_step)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Encoder and new head, each with and without decay: a head starts from nothing and learns
        faster, and L2 would only pull biases and norms away from their purpose.
        """
        encoder = self.model.base_model
        old = {id(p) for part in (encoder.embeddings, encoder.encoder) for p in part.parameters()}
        rates = {
            True: self.plan.learning_rate,
            False: self.plan.learning_rate * self.plan.head_factor,
        }
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                place = (id(parameter) in old, parameter.ndim >= 2)
                groups.setdefault(place, []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": rates[is_old],
                "weight_decay": self.plan.weight_decay if decays else 0.0,
            }
            for (is_old, decays), parameters in groups.items()
        ]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameter_groups(), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, cold_start_cosine(self.total_steps, self.plan.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def freeze(model: "PreTrainedModel", layers: int) -> None:
    """Freezes the embeddings and the first `layers` encoder layers (SPEC T6); 0 freezes nothing."""
    if layers:
        for part in (model.base_model.embeddings, *model.base_model.encoder.layer[:layers]):
            part.requires_grad_(False)


def cold_start_cosine(total: int, warmup: float) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear to 1, then a cosine down to 1/100 (SPEC T7, T8;
    the specification's cosine goes from 1e-3 to 1e-5, its steps scaled to the run's length).
    """
    cold = max(1, round(total * warmup))

    def factor(step: int) -> float:
        if step < cold:
            return (step + 1) / cold
        share = min(1.0, (step - cold) / max(1, total - cold))
        return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * share))

    return factor


class StepLog(Callback):
    """JSON lines with epoch, step, batch_loss, learning rate and validation metrics (SPEC T10)."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self.path, self.steps = path, steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run forgets what was logged after its checkpoint."""
        if self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("}\n")]
            kept = [line for line in whole if json.loads(line)["step"] <= trainer.global_step]
            self.path.write_text("".join(kept))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        self._write(
            trainer.global_step,
            batch_loss=float(outputs["loss"]),
            learning_rate=trainer.optimizers[0].param_groups[0]["lr"],
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics.items()
            self._write(
                trainer.global_step,
                **{name: float(value) for name, value in metrics if name.startswith("val_")},
            )

    def _write(self, step: int, **values: float) -> None:
        epoch = (step - 1) / self.steps.steps_per_epoch
        line = {"epoch": round(max(0.0, epoch), 4), "step": step, "of": self.steps.total, **values}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class SaveLast(Callback):
    """Saves the whole state every few steps; not at a step that a validation follows, because
    Lightning resumes such a checkpoint behind the validation.
    """

    def __init__(self, path: Path, every: int, validate_every: int) -> None:
        self.path, self.every, self.validate_every = path, every, validate_every

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0 and step % self.validate_every and step < trainer.max_steps:
            trainer.save_checkpoint(self.path)


def precision() -> str:
    """bf16 where the device computes in it, else float: emulated bf16 is slower than float."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"


def train(
    module: TrainingModule, steps: Steps, collate: Collate, validation: list[Any], work: Path
) -> list[dict[str, Any]]:
    """Trains until the last step or until patience ends; leaves the best weights in the module.

    Args:
        module: has `plan`.
        steps: which rows make which batch.
        collate: rows -> batch.
        validation: collated batches.
        work: folder of this very run (same code, configuration and inputs); a checkpoint found
            there is resumed.

    Returns:
        The run's log, one mapping per step and per validation.
    """
    work.mkdir(parents=True, exist_ok=True)
    last, best = work / LAST, work / BEST
    steps.start = global_step(last) if last.exists() else 0
    plan = module.plan
    keep_best = ModelCheckpoint(
        work,
        filename=Path(BEST).stem,
        monitor=plan.monitor,
        mode=plan.mode,
        save_weights_only=True,
        enable_version_counter=False,
    )
    keep_best.FILE_EXTENSION = ".safetensors"
    validate_every = max(1, len(steps) // plan.validations)
    callbacks: list[Callback] = [StepLog(work / LOG, steps), keep_best]
    if plan.patience is not None:
        callbacks.append(
            EarlyStopping(
                plan.monitor, mode=plan.mode, patience=plan.patience, check_on_train_epoch_end=False
            )
        )
    disable_possible_user_warnings()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        precision=precision(),
        max_epochs=1,
        max_steps=len(steps),
        val_check_interval=validate_every,
        gradient_clip_val=CLIP_NORM,
        callbacks=[*callbacks, SaveLast(last, plan.checkpoint_steps, validate_every)],
        plugins=[SafeCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    with warnings.catch_warnings():
        # The line of steps is resumable by construction, which Lightning can't know.
        warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
        # A resumed run's folder holds its checkpoint: that is what it is for.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        trainer.fit(
            module,
            Batches(steps, collate),
            DataLoader(cast("Dataset[Any]", validation), batch_size=None),
            ckpt_path=str(last) if last.exists() else None,
        )
    if best.exists():
        module.load_state_dict(SafeCheckpointIO().load_checkpoint(best)["state_dict"])
    return [json.loads(line) for line in (work / LOG).read_text().splitlines()]


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


def clear(work: Path) -> None:
    """Removes a finished run's folder."""
    shutil.rmtree(work, ignore_errors=True)
