"""Differential privacy: the accountant's published value, the budget kept, gradients really cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from pydantic import ValidationError

from vertical_assets.labels.splits import Items
from vertical_assets.spec import Privacy, VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.classification import Finetuned, finetune
from vertical_assets.training.loop import loop
from vertical_assets.training.loop.loop import DONE, LAST, SaveLast
from vertical_assets.training.loop.privacy import (
    SECRET,
    PoissonSteps,
    PrivacyBudgetError,
    epsilon_of,
    noise_multiplier,
    private_training,
)
from vertical_assets_tests.conftest import reviews, tiny

SECRET_OF_TESTS = bytes(range(32))


def spec_of(epsilon: float = 8.0, **changes: Any) -> VerticalSpec:
    settings = {"epochs": 2, "freeze_layers": 1, "privacy": {"epsilon": epsilon, "rows": 10}}
    return VerticalSpec(
        **tiny(
            model={**tiny()["model"], "hidden_size": 32, "max_tokens": 24},
            finetune={**settings, "checkpoint_steps": 3, "learning_rate": 0.002, **changes},
        )
    )


@pytest.fixture(scope="module")
def items() -> Items:
    rows = reviews(60)
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def base(items: Items, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_base(spec_of(), items.texts, tmp_path_factory.mktemp("base")).path


def trained(base: Path, items: Items, spec: VerticalSpec, work: Path) -> Finetuned:
    """A private training whose secret is known, so that it can be compared."""
    work.mkdir(exist_ok=True)
    (work / SECRET).write_bytes(SECRET_OF_TESTS)
    return finetune(base, items, items, spec, work)


def test_the_accountant_gives_opacus_published_value() -> None:
    """Opacus' own test of its Renyi accountant (tests/accountants_test.py)."""
    assert epsilon_of(1.5, 0.04, 2250, 1e-5) == pytest.approx(7.329, abs=5e-4)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(1.0, 0.01, 300), (8.0, 0.2, 20)])
def test_the_noise_keeps_the_budget_and_hardly_less(
    epsilon: float, rate: float, steps: int
) -> None:
    privacy = Privacy(epsilon=epsilon)
    sigma = noise_multiplier(privacy, rate, steps)
    spent = epsilon_of(sigma, rate, steps, privacy.delta)
    assert epsilon - 0.02 <= spent <= epsilon


def test_a_budget_that_no_noise_keeps_is_said() -> None:
    with pytest.raises(PrivacyBudgetError, match="raise it, or lower"):
        noise_multiplier(Privacy(epsilon=0.01), 0.2, 20)


def test_a_private_training_spends_its_budget_and_says_so(
    base: Path, items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "computes_in_bf16", lambda: True)  # in which norms were rounded
    result = trained(base, items, spec_of(), tmp_path / "run")
    facts = result.facts
    assert facts["privacy_delta"] == 1e-5  # SPEC X1
    assert facts["privacy_epsilon"] == pytest.approx(8.0, abs=0.02)
    rate, steps = 10 / len(items.texts), facts["steps"]
    assert facts["privacy_epsilon"] == pytest.approx(
        epsilon_of(facts["privacy_noise_multiplier"], rate, steps, 1e-5), abs=1e-3
    )
    assert facts["precision"] == "32-true"
    assert all(not hasattr(p, "grad_sample") for p in result.model.parameters())


class Gradients(Callback):
    """Norm of the gradient that each step walks along."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        grads = [p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(float(torch.cat(grads).norm()))


def test_a_small_budget_noises_the_gradients_more(base: Path, items: Items, tmp_path: Path) -> None:
    norms = []
    for epsilon in (0.5, 50.0):
        seen = Gradients()
        (tmp_path / str(epsilon)).mkdir()
        finetune(
            base, items, items, spec_of(epsilon, epochs=1), tmp_path / str(epsilon), more=[seen]
        )
        norms.append(max(seen.norms))
    assert norms[0] > 3 * norms[1]


def test_killed_and_resumed_goes_on_with_weights_and_accountant(
    base: Path, items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(epochs=1)
    unbroken = trained(base, items, spec, tmp_path / "unbroken")
    save = SaveLast.on_train_batch_end

    def hook(self: SaveLast, trainer: Any, *rest: Any) -> None:
        save(self, trainer, *rest)
        if trainer.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SaveLast, "on_train_batch_end", hook)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            trained(base, items, spec, tmp_path / "killed")
    assert (tmp_path / "killed" / LAST).exists()
    assert not (tmp_path / "killed" / DONE).exists()
    resumed = trained(base, items, spec, tmp_path / "killed")
    assert resumed.facts["resumed_from_step"] == 3
    assert resumed.facts["privacy_epsilon"] == unbroken.facts["privacy_epsilon"]
    expected, found = unbroken.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_rows_are_drawn_independently_with_the_stated_chance() -> None:
    steps = PoissonSteps(np.full(400, 5), 20, 50, SECRET_OF_TESTS)
    sizes = np.array([len(steps.drawn(step)) for step in range(len(steps))])
    assert len(steps) == 1000
    assert sizes.mean() == pytest.approx(20, abs=0.6)
    assert sizes.var() == pytest.approx(400 * 0.05 * 0.95, rel=0.2)  # binomial
    steps.start = 990
    assert len(list(steps.rows())) == 10


def test_a_step_that_draws_nobody_still_counts_and_moves_only_by_noise() -> None:
    steps = PoissonSteps(np.full(50, 5), 1, 2, SECRET_OF_TESTS)
    empty = [step for step in range(len(steps)) if not len(steps.drawn(step))]
    assert empty
    assert [len(rows) for rows in steps.rows()] == [
        max(1, len(steps.drawn(step))) for step in range(len(steps))
    ]


def test_the_secret_is_drawn_anew_for_each_run_and_kept_from_others(tmp_path: Path) -> None:
    lengths = np.full(50, 5)
    first, second = (
        private_training(Privacy(epsilon=1.0), lengths, 5, 1, tmp_path / name) for name in "ab"
    )
    assert first.steps.secret != second.steps.secret
    assert (tmp_path / "a" / SECRET).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"freeze_layers": 0}, "set finetune.freeze_layers to 1"),
        ({"class_weights": "balanced"}, "remove class_weights and per_group"),
        ({"per_group": 3}, "remove class_weights and per_group"),
    ],
)
def test_what_privacy_can_not_do_is_said_when_the_yaml_is_read(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        spec_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**tiny()["model"], "cascade": {}}},
        {"features": {"augment": {"swap": {}}}},
    ],
)
def test_what_learns_beside_the_budget_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"reveals more than finetune\.privacy counts"):
        VerticalSpec(**{**spec_of().model_dump(mode="json"), **changes})


def test_privacy_and_several_processes_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="trains in one process"):
        VerticalSpec(**{**spec_of().model_dump(mode="json"), "processes": {"devices": 2}})
