"""The loop: one way to train a module with Lightning, killed and resumed at the step.

All epochs are one line of steps. Every random draw of a step (dropout, masking) is seeded by the
step's number, so that a resumed run goes on exactly where the killed one would have gone.
"""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import disable_possible_user_warnings
from torch.utils.data import DataLoader, Dataset

from vertical_assets.spec import Processes
from vertical_assets.spec.training import Loop
from vertical_assets.store.versions import LOG
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.checkpoint_io import SafeCheckpointIO, global_step
from vertical_assets.training.loop.dropout import fast_dropout
from vertical_assets.training.loop.logs import (
    Board,
    Live,
    StepLog,
    Watch,
    read_log,
    within_step,
)
from vertical_assets.training.loop.monitor import MemoryMonitor, StepCost
from vertical_assets.training.loop.processes import (
    WorkerDoneError,
    World,
    shard,
    trainer_arguments,
    world,
)
from vertical_assets.training.loop.schedules import Rate, Schedule

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEYWORD_BIAS = "keyword_bias"  # parameters of keyword attention: new, though inside the encoder
LAST, BEST, DONE = "last.safetensors", "best.safetensors", "done"
FLOAT = "32-true"  # Lightning's name

Collate = Callable[[np.ndarray], Any]  # rows -> a batch of tensors


class UntrainableError(ValueError):
    """Configuration or labelled set don't allow this training; the message names the remedy."""


@dataclass(frozen=True)
class Plan:
    """How a training goes: its section of the YAML, and what follows from task and data."""

    settings: Loop
    rate: Rate  # the learning rate's peak
    seed: int
    monitor: str  # the validation metric that decides which weights are kept
    mode: str  # min | max
    patience: int | None = None  # validations without gain until the run stops (SPEC M13)
    validations: int = 1  # times that the run is validated

    @property
    def schedule(self) -> Schedule:
        chosen = self.settings
        return Schedule(chosen.schedule, chosen.cold_start, chosen.warmup)

    def facts(self, total_steps: int) -> dict[str, Any]:
        """What was chosen and why, for the asset's page (SPEC M11, T7, T8)."""
        return {
            "learning_rate": self.rate.value,
            "learning_rate_why": self.rate.why,
            "schedule": self.schedule.described(total_steps, self.rate.value),
            "precision": precision(self.settings.precision),
        }


class Batches:
    """This process' collated batches from where the run stands; sized, so that Lightning knows
    the end.
    """

    def __init__(self, steps: Steps, collate: Collate, here: World) -> None:
        self.steps, self.collate, self.here = steps, collate, here
        # Of each step's batches, without padding; of all processes.
        self.tokens = np.zeros(len(steps), np.int64)

    def __len__(self) -> int:
        return len(self.steps) * self.steps.per_step // self.here.size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        here, per_step = self.here, self.steps.per_step
        line = zip(count(self.steps.start * per_step), self.steps.rows(), strict=False)
        for number, rows in line:
            self.tokens[number // per_step] += self.steps.lengths[rows].sum()
            if number % here.size == here.rank:
                yield self.collate(rows)


class TrainingModule(pl.LightningModule):
    """What all trainings share: AdamW with L1 and L2, and the learning rate's course."""

    def __init__(self, model: "PreTrainedModel", plan: Plan, total_steps: int) -> None:
        super().__init__()
        self.model, self.plan, self.total_steps = model, plan, total_steps

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        added = self.trainer.accumulate_grad_batches
        batch_of_step = batch_idx % added * self.trainer.world_size + self.trainer.global_rank
        per_step = added * self.trainer.world_size
        torch.manual_seed(self.plan.seed + self.global_step * per_step + batch_of_step)

    def configure_model(self) -> None:
        shard(self)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and regularisation (SPEC M12).

        A new head, or keyword attention, starts from nothing and may learn faster; a layer may
        learn more slowly the further down it is. L1 and L2 take matrices only: they would pull
        biases and norms away from their purpose.
        """
        settings, parts = self.plan.settings, parts_of(self.model)
        above = {
            id(parameter): len(parts) - 1 - number
            for number, part in enumerate(parts)
            for name, parameter in part.named_parameters()
            if KEYWORD_BIAS not in name
        }
        sparse = {id(parameter) for parameter in parts[0].parameters()}
        groups: dict[tuple[float, bool, bool], list[torch.nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                layers = above.get(id(parameter))
                factor = settings.head_factor if layers is None else settings.layer_decay**layers
                is_matrix = parameter.ndim >= 2
                is_sparse = is_matrix and (settings.l1_on == "all" or id(parameter) in sparse)
                groups.setdefault((factor, is_matrix, is_sparse), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": self.plan.rate.value * factor,
                "weight_decay": settings.weight_decay if is_matrix else 0.0,
                "l1": settings.l1 if is_sparse else 0.0,
            }
            for (factor, is_matrix, is_sparse), parameters in groups.items()
        ]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameter_groups(), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, self.plan.schedule.factor(self.total_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Cuts the norm of all gradients. Lightning's own refuses fused optimizers under mixed
        precision, whose step would undo a scaling; bf16 scales nothing.
        """
        if gradient_clip_val:
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, gradient_clip_val)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        shrink(optimizer)


@torch.no_grad()
def shrink(optimizer: torch.optim.Optimizer) -> None:
    """L1 as its proximal step, w -> sign(w) max(|w| - lr * l1, 0) (Parikh & Boyd 2014, 6.5.2), for
    the groups with an `l1`: weights become zero, which a penalty in the loss never makes them.
    """
    for group in optimizer.param_groups:
        if group["l1"]:
            for parameter in group["params"]:
                parameter.copy_(
                    torch.nn.functional.softshrink(parameter, group["lr"] * group["l1"])
                )


def parts_of(model: "PreTrainedModel") -> list[torch.nn.Module]:
    """Embeddings and encoder layers, from the bottom up; all else is the head."""
    return [model.base_model.embeddings, *model.base_model.encoder.layer]


def freeze(model: "PreTrainedModel", layers: int) -> None:
    """Freezes the embeddings and the first `layers` encoder layers (SPEC T6), but for keyword
    attention, which has nothing to keep; 0 freezes nothing.

    Raises:
        UntrainableError: the encoder has fewer layers.
    """
    if layers:
        parts = parts_of(model)
        if layers >= len(parts):
            raise UntrainableError(
                f"freeze_layers is {layers}, but the encoder has {len(parts) - 1} layers; lower it "
                "under 'pretrain', 'finetune' or 'model.distill'"
            )
        for part in parts[: layers + 1]:
            for name, parameter in part.named_parameters():
                parameter.requires_grad_(KEYWORD_BIAS in name)


def set_dropout(model: "PreTrainedModel", share: float | None) -> None:
    """Dropout of hidden states, attention and head; None leaves the model as it is. The
    configuration keeps the base model's: the next training may want that.
    """
    if share is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = share


class SaveLast(Callback):
    """Saves the whole state every few steps; a step later where a validation follows, because
    Lightning resumes such a checkpoint behind the validation.
    """

    def __init__(self, path: Path, every: int, validate_every: int) -> None:
        self.path, self.every, self.validate_every = path, every, validate_every
        self.due = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, idx: int
    ) -> None:
        step = trainer.global_step
        if within_step(trainer, idx) or step >= trainer.max_steps:
            return
        self.due = self.due or step % self.every == 0
        if self.due and step % self.validate_every:
            self.due = False
            trainer.save_checkpoint(self.path)


def precision(choice: str = "auto") -> str:
    """Lightning's name of a precision. auto: bf16 where the device computes in it, else float,
    since emulated bf16 is slower than float.
    """
    half = choice == "bf16" or (choice == "auto" and computes_in_bf16())
    return "bf16-mixed" if half else FLOAT


def computes_in_bf16() -> bool:
    """Whether the card, or the processor where there is none, has instructions for bf16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def train(
    module: TrainingModule,
    steps: Steps,
    collate: Collate,
    validation: list[Any],
    work: Path,
    watch: Watch,
    processes: Processes = Processes(),  # noqa: B008  (frozen)
    more: Sequence[Callback] = (),
) -> list[dict[str, Any]]:
    """Trains until the last step or until patience ends; leaves the best weights in the module.

    Args:
        module: has `plan`.
        steps: which rows make which batch.
        collate: rows -> batch.
        validation: collated batches.
        work: folder of this very run (same code, configuration and inputs); a checkpoint found
            there is resumed, and a finished run is taken as it is.
        watch: who is told while it runs.
        processes: those that train together, and how; each of them calls this.
        more: further callbacks, which may keep a state in the checkpoint.

    Returns:
        The run's log, one mapping per step and per validation.
    """
    work.mkdir(parents=True, exist_ok=True)
    last = work / LAST
    if (work / DONE).exists():
        steps.start = len(steps)
        return finished(module, work)
    steps.start = global_step(last) if last.exists() else 0
    plan, batches = module.plan, Batches(steps, collate, world())
    watch.say(
        f"{len(steps):,} steps from {steps.start:,}; learning rate {plan.rate.value:.3g}: "
        f"{plan.rate.why}; {plan.schedule.described(len(steps), plan.rate.value)}"
    )
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
    step_log = StepLog(work / LOG, steps, batches.tokens)
    callbacks: list[Callback] = [
        step_log,
        keep_best,
        MemoryMonitor(work),
        StepCost(work),
    ]
    if watch.board is not None and world().rank == 0:
        callbacks.append(Board(watch.board, step_log))
    if watch.live is not None and world().rank == 0:
        callbacks.append(Live(watch.live, step_log))
    if plan.patience is not None:
        callbacks.append(
            EarlyStopping(
                plan.monitor, mode=plan.mode, patience=plan.patience, check_on_train_epoch_end=False
            )
        )
    if processes.gradient_checkpointing:
        module.model.gradient_checkpointing_enable()
    disable_possible_user_warnings()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = pl.Trainer(
        accelerator="auto",
        **trainer_arguments(processes),
        precision=precision(plan.settings.precision),
        max_epochs=1,
        max_steps=len(steps),
        val_check_interval=validate_every * processes.accumulation,
        gradient_clip_val=plan.settings.clip_norm,
        callbacks=[
            *more,
            *callbacks,
            SaveLast(last, plan.settings.checkpoint_steps, validate_every),
        ],
        plugins=[SafeCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    with fast_dropout(module), warnings.catch_warnings():
        # The line of steps is resumable by construction, which Lightning can't know.
        warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
        # A resumed run's folder holds its checkpoint: that is what it is for.
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        module.train()  # from_pretrained leaves it in evaluation, and Lightning as it is
        trainer.fit(
            module,
            batches,
            DataLoader(cast("Dataset[Any]", validation), batch_size=None),
            ckpt_path=str(last) if last.exists() else None,
        )
    if trainer.is_global_zero:
        (work / DONE).touch()
    if trainer.world_size > 1:
        raise WorkerDoneError
    return finished(module, work)


def finished(module: TrainingModule, work: Path) -> list[dict[str, Any]]:
    """The log of the finished run in a folder; its best weights are put into the module."""
    best = work / BEST
    if best.exists():
        module.load_state_dict(SafeCheckpointIO().load_checkpoint(best)["state_dict"])
    return read_log(work / LOG)


def clear(work: Path) -> None:
    """Removes a finished run's folder."""
    shutil.rmtree(work, ignore_errors=True)
