"""Differential privacy of fine-tuning (SPEC X1): DP-SGD of Abadi et al. 2016, by Opacus.

Each step draws every item with the same chance (Poisson sampling), cuts each item's gradient to a
norm and adds Gaussian noise; the accountant adds up what the steps spend, by Renyi differential
privacy (Mironov 2017). The guarantee is about the items of the training split and the fine-tuned
weights. Not covered: the base model, which saw the corpus without noise, and logs and validation
figures, which are not noised; keep these inside.

Sampling and noise come from a secret that is drawn for each run and thrown away with its folder:
a seed from the YAML would let everybody take the noise off again. So a private run is not the same
twice; killed and resumed, it is, and its accountant goes on where its checkpoint stands.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from opacus.accountants import RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from opacus.grad_sample import GradSampleHooks
from opacus.optimizers import DPOptimizer

from vertical_assets.spec import Privacy
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.loop import UntrainableError
from vertical_assets.training.loop.monitor import USAGE, note, usage

SECRET, SECRET_BYTES = "secret", 32


class PrivacyBudgetError(UntrainableError):
    """The budget is too small for the run; the message names the remedy."""


class PoissonSteps(Steps):
    """A line of steps that draw each row independently with the same chance.

    The amplification of privacy by sampling holds for exactly this (Abadi et al. 2016); batches of
    similar length, or each row once per epoch, would not have it.
    """

    def __init__(self, lengths: np.ndarray, rows: int, epochs: float, secret: bytes) -> None:
        self.expected_rows = min(rows, len(lengths))
        self.sample_rate = self.expected_rows / len(lengths)
        self.secret = secret
        self.lengths, self.per_step, self.start = lengths, 1, 0
        self.steps_per_epoch = 1 / self.sample_rate
        self.total = max(1, round(self.steps_per_epoch * epochs))

    def drawn(self, step: int) -> np.ndarray:
        """Row numbers of a step; may be none."""
        rng = np.random.default_rng(derived(self.secret, "rows", step))
        return np.flatnonzero(rng.random(len(self.lengths)) < self.sample_rate)

    def rows(self) -> Iterator[np.ndarray]:
        """As `drawn`; where none is, the first row stands in, and its gradient is not used."""
        for step in range(self.start, self.total):
            drawn = self.drawn(step)
            yield drawn if len(drawn) else np.zeros(1, np.int64)


class Private(Callback):
    """Cuts and noises the gradients of a training, and accounts for what it spends."""

    def __init__(self, privacy: Privacy, steps: PoissonSteps, work: Path) -> None:
        self.privacy, self.steps, self.path = privacy, steps, work / USAGE
        self.noise_multiplier = noise_multiplier(privacy, steps.sample_rate, steps.total)
        self.accountant = RDPAccountant()
        self.generator = torch.Generator()
        self.hooks: GradSampleHooks | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.hooks = GradSampleHooks(pl_module.model, loss_reduction="mean")
        self.generator = torch.Generator(pl_module.device)
        trainer.optimizers = [
            DPOptimizer(
                optimizer,
                noise_multiplier=self.noise_multiplier,
                max_grad_norm=self.privacy.max_grad_norm,
                expected_batch_size=self.steps.expected_rows,
                generator=self.generator,
            )
            for optimizer in trainer.optimizers
        ]

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        noise = derived(self.steps.secret, "noise", trainer.global_step)
        self.generator.manual_seed(noise % 2**63)

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        if not len(self.steps.drawn(trainer.global_step)):
            for parameter in trainer.optimizers[0].params:
                parameter.grad_sample.zero_()

    def on_train_batch_end(self, *_: Any) -> None:
        self.accountant.step(
            noise_multiplier=self.noise_multiplier, sample_rate=self.steps.sample_rate
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.close()
        note(self.path, **self.spent())

    def on_exception(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Takes Opacus' hooks off the model."""
        if self.hooks is not None:
            self.hooks.cleanup()
            self.hooks = None

    def spent(self) -> dict[str, Any]:
        """What the steps so far have spent."""
        return {
            "epsilon": round(float(self.accountant.get_epsilon(self.privacy.delta)), 4),
            "delta": self.privacy.delta,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.steps.sample_rate,
            "max_grad_norm": self.privacy.max_grad_norm,
            "private_steps": sum(count for *_, count in self.accountant.history),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"history": [list(entry) for entry in self.accountant.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accountant.history = [tuple(entry) for entry in state_dict["history"]]


def private_training(
    privacy: Privacy, lengths: np.ndarray, rows: int, epochs: float, work: Path
) -> Private:
    """The callback and, as its `steps`, the line of steps of a private training.

    Args:
        privacy: the budget.
        lengths: tokens of each item.
        rows: expected items per step.
        epochs: expected draws of each item.
        work: the run's folder; keeps the secret, readable by its owner only.
    """
    return Private(privacy, PoissonSteps(lengths, rows, epochs, secret_of(work)), work)


def noise_multiplier(privacy: Privacy, sample_rate: float, steps: int) -> float:
    """The least noise, in multiples of `max_grad_norm`, with which so many steps keep the budget
    (to 0.01 of epsilon below it).

    Raises:
        PrivacyBudgetError: no noise is enough.
    """
    try:
        return float(
            get_noise_multiplier(
                target_epsilon=privacy.epsilon,
                target_delta=privacy.delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant="rdp",
            )
        )
    except ValueError as error:
        raise PrivacyBudgetError(
            f"finetune.privacy.epsilon {privacy.epsilon:g} can't be kept over {steps} steps; raise "
            "it, or lower finetune.epochs"
        ) from error


def epsilon_of(sigma: float, sample_rate: float, steps: int, delta: float) -> float:
    """What so many steps spend."""
    accountant = RDPAccountant()
    accountant.history = [(sigma, sample_rate, steps)]
    return float(accountant.get_epsilon(delta))


def private_facts(work: Path) -> dict[str, Any]:
    """What a finished private training spent, for manifest and page."""
    names = ("epsilon", "delta", "noise_multiplier", "sample_rate", "max_grad_norm")
    known = usage(work)
    return {
        **{f"privacy_{name}": known[name] for name in names},
        "privacy_covers": "items of the training split, in what fine-tuning learnt; not the "
        "adapted base model, logs and validation figures",
    }


def secret_of(work: Path) -> bytes:
    """The run's secret; drawn where there is none yet."""
    path = work / SECRET
    work.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_name(f".{SECRET}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        partial.replace(path)
    return path.read_bytes()


def derived(secret: bytes, purpose: str, step: int) -> int:
    """A number for one purpose and step that nobody can guess without the secret."""
    return int.from_bytes(hashlib.blake2b(f"{purpose} {step}".encode(), key=secret).digest())
