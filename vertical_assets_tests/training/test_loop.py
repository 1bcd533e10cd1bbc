"""The loop: a killed and resumed training ends with the very weights of an unbroken one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.versions import LOG
from vertical_assets.training.base_models import prepare_base
from vertical_assets.training.checkpoint_io import SafeCheckpointIO, global_step
from vertical_assets.training.classification import class_weights, finetune
from vertical_assets.training.loop import LAST, SaveLast, cold_start_cosine, freeze
from vertical_assets.training.pretraining import pretrain
from vertical_assets_tests.conftest import reviews, tiny

SPEC = VerticalSpec(**tiny(finetune={"epochs": 3, "batch_tokens": 256, "checkpoint_steps": 4}))


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def texts() -> Items:
    rows = reviews(160)
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def base(texts: Items, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_base(SPEC, texts.texts, tmp_path_factory.mktemp("base")).path


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the training after a step, as a kill would: no callback runs any more."""
    save = SaveLast.on_train_batch_end

    def hook(self: SaveLast, trainer: Any, *rest: Any) -> None:
        save(self, trainer, *rest)
        if trainer.global_step == step:
            raise KilledError

    monkeypatch.setattr(SaveLast, "on_train_batch_end", hook)


@pytest.mark.parametrize("kill", [3, 9, 16])
def test_killed_and_resumed_is_bit_equal_to_unbroken(
    texts: Items,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill: int,
) -> None:
    train_set, held = (
        Items(texts.texts[n::2], texts.labels[n::2], texts.groups[n::2]) for n in (0, 1)
    )
    unbroken = finetune(base, train_set, held, SPEC, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        kill_at(kill, patch)
        with pytest.raises(KilledError):
            finetune(base, train_set, held, SPEC, tmp_path / "killed")
    resumed_from = tmp_path / "killed" / LAST
    assert (global_step(resumed_from) if resumed_from.exists() else 0) == kill // 4 * 4
    resumed = finetune(base, train_set, held, SPEC, tmp_path / "killed")
    expected, found = weights(unbroken.model), weights(resumed.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert resumed.log == unbroken.log
    steps = [line["step"] for line in resumed.log if "batch_loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    assert sum("val_f1_macro" in line for line in resumed.log) == 3


def test_two_runs_give_the_same_weights(texts: Items, base: Path, tmp_path: Path) -> None:
    first, second = (pretrain(base, texts.texts, SPEC, tmp_path / name) for name in "ab")
    assert first.loss_after == second.loss_after
    expected, found = weights(first.model), weights(second.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_held_out_loss_falls(texts: Items, base: Path, tmp_path: Path) -> None:
    longer = SPEC.model_copy(update={"pretrain": SPEC.pretrain.model_copy(update={"epochs": 8.0})})
    result = pretrain(base, texts.texts, longer, tmp_path)
    assert result.loss_after < result.loss_before


def test_the_log_is_json_lines_with_the_specifications_fields(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    finetune(base, texts, texts, SPEC, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert all({"epoch", "step"} <= set(line) for line in lines)  # SPEC T10
    assert any("batch_loss" in line for line in lines)
    assert any("val_accuracy" in line for line in lines)


def test_the_learning_rate_rises_then_follows_a_cosine() -> None:
    factor = cold_start_cosine(1000, 0.1)
    rates = [factor(step) for step in range(1000)]
    assert rates[:100] == sorted(rates[:100])
    assert rates[99] == pytest.approx(1.0)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert factor(550) == pytest.approx(0.505, abs=1e-3)  # half way down
    assert factor(1000) == pytest.approx(0.01)  # 1e-3 down to 1e-5 (SPEC T8)


def test_frozen_layers_keep_their_weights(texts: Items, base: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    settings = SPEC.finetune.model_copy(update={"freeze_layers": 1, "epochs": 1})
    spec = SPEC.model_copy(update={"finetune": settings})
    before = weights(AutoModel.from_pretrained(base))
    after = weights(finetune(base, texts, texts, spec, tmp_path).model.base_model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in changed)
    assert any(name.startswith("encoder.layer.1.") for name in changed)


def test_freezing_no_layers_freezes_nothing(base: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(base)
    freeze(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_class_weights_are_inverse_frequencies_with_mean_one() -> None:
    import numpy as np

    labels = np.array([0] * 90 + [1] * 10)
    balanced = class_weights(labels, 3, "balanced")
    assert balanced is not None
    assert float(balanced[1] / balanced[0]) == pytest.approx(9.0)
    assert float(balanced[labels].mean()) == pytest.approx(1.0, abs=1e-6)
    rooted = class_weights(labels, 3, "sqrt")
    assert rooted is not None
    assert float(rooted[1] / rooted[0]) == pytest.approx(3.0)
    assert class_weights(labels, 3, "none") is None


def test_a_training_state_survives_its_file(tmp_path: Path) -> None:
    state = {
        "global_step": 3,
        "tensors": {"a": torch.arange(4.0), 0: [torch.ones(2), None]},
        "flags": (True, 1.5, "x"),
    }
    SafeCheckpointIO().save_checkpoint(state, tmp_path / LAST)
    loaded = SafeCheckpointIO().load_checkpoint(tmp_path / LAST)
    assert loaded["flags"] == state["flags"]
    assert torch.equal(loaded["tensors"]["a"], torch.arange(4.0))
    assert torch.equal(loaded["tensors"][0][0], torch.ones(2))
    assert global_step(tmp_path / LAST) == 3
    with pytest.raises(TypeError, match="object can't be checkpointed"):
        SafeCheckpointIO().save_checkpoint({"state": object()}, tmp_path / LAST)
    assert global_step(tmp_path / LAST) == 3
