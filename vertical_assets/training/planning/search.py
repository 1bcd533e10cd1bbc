"""Search for hyper-parameters of fine-tuning by Optuna: seeded, on a sample of the training split.

It proposes; the YAML stays as it is. Trials that fall behind the median of the others at a
validation are pruned (Akiba et al. 2019).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import optuna
from lightning.pytorch.callbacks import Callback
from pydantic import ValidationError

from vertical_assets.labels.splits import Items
from vertical_assets.spec import Finetune, Processes, Range, Search, VerticalSpec
from vertical_assets.training.finetuning import finetune
from vertical_assets.training.loop.loop import clear
from vertical_assets.training.modules.data import VectorSource

STARTUP_TRIALS = 5  # drawn at random before the sampler and the pruner judge by them


@dataclass(frozen=True)
class Trial:
    """One attempt; `value` is the validation metric, of a pruned trial its last."""

    number: int
    state: str  # complete | pruned
    metric: str
    mode: str  # max | min: which value of the metric is better
    value: float
    parameters: dict[str, Any]


class Prune(Callback):
    """Reports each validation to the trial; ends it where it falls behind."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.metric, self.mode = "", "max"
        self.values: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metric, self.mode = pl_module.plan.monitor, pl_module.plan.mode
        self.values.append(float(trainer.callback_metrics[self.metric]))
        sign = 1 if self.mode == "max" else -1
        self.trial.report(sign * self.values[-1], trainer.global_step)
        if self.trial.should_prune():
            raise optuna.TrialPruned

    def told(self, state: str, value: float) -> Trial:
        """The attempt as it ended."""
        return Trial(
            self.trial.number, state, self.metric, self.mode, value, dict(self.trial.params)
        )


def search(
    base: Path,
    train_set: Items,
    validation_set: Items,
    spec: VerticalSpec,
    work: Path,
    sources: Mapping[str, VectorSource] | None = None,
) -> list[Trial]:
    """Trials in their order.

    Args:
        base: Hugging Face directory of the adapted base model.
        train_set: a seeded sample of it is learnt from, the same in every trial.
        validation_set: judges; the test split is never looked at.
        spec: sections `search`, `finetune`, `model`, `task`, `seed`.
        work: folder of this search; each trial's own is removed after it.
        sources: feature -> its vectors, for the modules that read one.
    """
    settings = spec.search
    if settings is None:
        raise ValueError("the vertical has no section 'search'; add one")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=spec.seed, n_startup_trials=STARTUP_TRIALS),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
    )
    sampled = sample(train_set, settings.sample, spec.seed)
    found: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        tried = with_parameters(spec, drawn(trial, settings))
        prune = Prune(trial)
        try:
            folder = work / f"trial-{trial.number}"
            finetune(base, sampled, validation_set, tried, folder, sources=sources, more=[prune])
        except optuna.TrialPruned:
            found.append(prune.told("pruned", prune.values[-1]))
            raise
        finally:
            clear(work / f"trial-{trial.number}")
        value = max(prune.values) if prune.mode == "max" else min(prune.values)
        found.append(prune.told("complete", value))
        return value if prune.mode == "max" else -value

    study.optimize(objective, n_trials=settings.trials, timeout=settings.timeout_s)
    return found


def drawn(trial: optuna.Trial, settings: Search) -> dict[str, Any]:
    """A value for every searched key."""
    return {key: _suggest(trial, key, tried) for key, tried in settings.parameters.items()}


def _suggest(trial: optuna.Trial, key: str, tried: Range) -> Any:
    if tried.choices is not None:
        return trial.suggest_categorical(key, list(tried.choices))
    low, high = float(tried.low or 0.0), float(tried.high or 0.0)
    if _counts(key.removeprefix("finetune.")):
        return trial.suggest_int(key, int(low), int(high), log=tried.log)
    return trial.suggest_float(key, low, high, log=tried.log)


def _counts(key: str) -> bool:
    """Whether a key of `finetune` takes whole numbers only."""
    try:
        Finetune.model_validate({key: 1.5})
    except ValidationError as error:
        return any(each["type"] == "int_from_float" for each in error.errors())
    return False


def with_parameters(spec: VerticalSpec, parameters: dict[str, Any]) -> VerticalSpec:
    """The vertical with other values of `finetune`, trained by one process."""
    changed = {key.removeprefix("finetune."): value for key, value in parameters.items()}
    settings = Finetune.model_validate({**spec.finetune.model_dump(), **changed})
    return spec.model_copy(update={"finetune": settings, "processes": Processes()})


def sample(items: Items, share: float, seed: int) -> Items:
    """A share of the items of each class, at least one, in their order; of all items where targets
    are no classes.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(items.texts))
    labels = [each if isinstance(each := items.labels[row], str) else "" for row in order]
    kept: list[int] = []
    for label in sorted(set(labels)):
        rows = [int(row) for row, other in zip(order, labels, strict=True) if other == label]
        kept += rows[: max(1, round(share * len(rows)))]
    rows = sorted(kept)
    return Items(
        **{
            name: [values[row] for row in rows] if values else values
            for name, values in vars(items).items()
        }
    )


def best(trials: list[Trial]) -> Trial:
    """The complete trial with the best metric.

    Raises:
        ValueError: no trial was complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise ValueError("no trial was complete; raise search.timeout_s or search.trials")
    sign = -1 if complete[0].mode == "min" else 1
    return max(complete, key=lambda trial: sign * trial.value)


def yaml_of(trial: Trial) -> str:
    """The lines to take over into the vertical's YAML."""
    lines = [
        f"  {key.removeprefix('finetune.')}: {json.dumps(value)}"
        for key, value in trial.parameters.items()
    ]
    return "\n".join(["finetune:", *lines])
