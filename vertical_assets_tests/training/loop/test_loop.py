"""The loop: a killed and resumed training ends with the very weights of an unbroken one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.classification import class_weights, finetune
from vertical_assets.training.loop import loop
from vertical_assets.training.loop.checkpoint_io import SafeCheckpointIO, global_step
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import (
    LAST,
    Plan,
    SaveLast,
    TrainingModule,
    UntrainableError,
    freeze,
    precision,
)
from vertical_assets.training.loop.schedules import Rate
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


def changed(section: str, **settings: Any) -> VerticalSpec:
    """The vertical with other settings in one section."""
    new = getattr(SPEC, section).model_copy(update=settings)
    return SPEC.model_copy(update={section: new})


def untimed(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: line[name] for name in line if name != "tokens_per_s"} for line in log]


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
    assert untimed(resumed.log) == untimed(unbroken.log)
    steps = [line["step"] for line in resumed.log if "batch_loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    assert sum("val_f1_macro" in line for line in resumed.log) == 3


@pytest.mark.parametrize(("every", "kept"), [(4, 5), (2, 6)])
def test_a_checkpoint_that_falls_on_a_validation_is_made_up_for(
    texts: Items,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    kept: int,
) -> None:
    """Every 4th of 12 steps is validated, and none of these can be gone on from."""
    spec = changed("pretrain", batch_tokens=10**6, epochs=12.0, checkpoint_steps=every)
    kill_at(7, monkeypatch)
    with pytest.raises(KilledError):
        pretrain(base, texts.texts, spec, tmp_path)
    assert global_step(tmp_path / LAST) == kept


def test_training_stops_after_so_many_epochs_without_gain(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    """By the domain's metric (SPEC M13): at this rate the loss falls, but no answer changes."""
    spec = changed(
        "finetune", epochs=9, patience=2, learning_rate=1e-9, batch_tokens=4096, dropout=0.0
    )
    log = finetune(base, texts, texts, spec, tmp_path).log
    validated = [line for line in log if "val_f1_macro" in line]
    assert len({line["val_f1_macro"] for line in validated}) == 1
    assert len(validated) == 3  # the first, and two without gain
    assert log[-1]["step"] < log[-1]["of"]


def test_two_runs_give_the_same_weights(texts: Items, base: Path, tmp_path: Path) -> None:
    first, second = (pretrain(base, texts.texts, SPEC, tmp_path / name) for name in "ab")
    assert first.loss_after == second.loss_after
    expected, found = weights(first.model), weights(second.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"packing": True, "schedule": "cosine"},
        {"packing": True, "schedule": "step", "l1": 1e-3, "layer_decay": 0.9},
        {"packing": False, "schedule": "step"},
        {"packing": True, "cold_start": "linear", "dropout": 0.0},
    ],
    ids=str,
)
def test_pretraining_resumes_bit_equal(
    texts: Items,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    spec = changed("pretrain", epochs=1.5, batch_tokens=512, checkpoint_steps=1, **settings)
    unbroken = pretrain(base, texts.texts, spec, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        kill_at(5, patch)
        with pytest.raises(KilledError):
            pretrain(base, texts.texts, spec, tmp_path / "killed")
    resumed = pretrain(base, texts.texts, spec, tmp_path / "killed")
    assert resumed.facts["resumed_from_step"] in (4, 5)  # none before a validation
    expected, found = weights(unbroken.model), weights(resumed.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert untimed(resumed.log) == untimed(unbroken.log)


def test_l1_empties_embeddings(texts: Items, base: Path, tmp_path: Path) -> None:
    """Weights become exactly zero, in the embeddings only (SPEC M12)."""

    def zeros(l1: float) -> dict[str, int]:
        spec = changed("pretrain", learning_rate=0.005, l1=l1)
        model = pretrain(base, texts.texts, spec, tmp_path / str(l1)).model
        return {
            name: int((value == 0).sum())
            for name, value in model.base_model.named_parameters()
            if value.ndim >= 2
        }

    without, with_l1 = zeros(0.0), zeros(0.3)
    name = "embeddings.word_embeddings.weight"
    assert with_l1[name] > without[name] + 1000
    assert {n: z for n, z in with_l1.items() if "embeddings" not in n} == {
        n: z for n, z in without.items() if "embeddings" not in n
    }


def test_lower_layers_learn_more_slowly(base: Path) -> None:
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(base)
    settings = SPEC.pretrain.model_copy(update={"layer_decay": 0.5, "head_factor": 3.0})
    plan = Plan(settings, Rate(0.008, "as configured"), seed=0, monitor="val_loss", mode="min")
    groups = TrainingModule(model, plan, 10).parameter_groups()
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}

    def rate(name: str) -> float:
        return rates[id(model.get_parameter(name))]

    assert rate("bert.encoder.layer.1.output.dense.weight") == pytest.approx(0.008)
    assert rate("bert.encoder.layer.0.output.dense.weight") == pytest.approx(0.004)
    assert rate("bert.embeddings.word_embeddings.weight") == pytest.approx(0.002)
    assert rate("cls.predictions.transform.dense.weight") == pytest.approx(0.024)
    assert len(rates) == len(list(model.parameters()))
    for group in groups:  # L2 (SPEC M12)
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] > 0}
        assert group["weight_decay"] in (0.0, settings.weight_decay)


def test_what_was_chosen_is_told(texts: Items, base: Path, tmp_path: Path) -> None:
    """Learning rate by scale and the scaled schedule, before the first step (SPEC M11, T8)."""
    said: list[str] = []
    spec = changed("pretrain", learning_rate=None, cold_start="constant", warmup=0.2)
    result = pretrain(base, texts.texts, spec, tmp_path, Watch(say=said.append))
    assert result.facts["learning_rate"] == 0.0005
    assert "fewer than 1,000,000" in result.facts["learning_rate_why"]
    assert "10,000 of 50,000 steps -> " in result.facts["schedule"]
    assert result.facts["schedule"] in said[0]
    assert result.facts["learning_rate_why"] in said[0]


def test_ids_of_a_sensitive_vertical_are_not_left_on_disk(base: Path, tmp_path: Path) -> None:
    """What is stored of it is encrypted (SPEC X2)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    for sensitive, files in ((True, 0), (False, 1)):
        spec = SPEC.model_copy(update={"sensitive": sensitive})
        assert len(tokenized(["有病", "没病"], tokenizer, spec, tmp_path).ids) == 2
        assert len(list(tmp_path.iterdir())) == files


def test_precision_is_as_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (precision("bf16"), precision("fp32")) == ("bf16-mixed", "32-true")
    for native, chosen in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(loop, "computes_in_bf16", lambda native=native: native)
        assert precision("auto") == chosen


def test_trainings_run_in_bf16_by_their_usual_settings(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    """Where the device has it, it is what `precision: auto` takes; here it is emulated. The weights
    are float ones, though the base was stored as halves: Adam's steps would be lost in these.
    """
    half = tmp_path / "half"
    AutoModelForMaskedLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(base).save_pretrained(half)
    result = pretrain(half, texts.texts, changed("pretrain", precision="bf16"), tmp_path / "p")
    assert {parameter.dtype for parameter in result.model.parameters()} == {torch.float32}
    tuned = finetune(
        base, texts, texts, changed("finetune", precision="bf16", epochs=1), tmp_path / "f"
    )
    for facts in (result.facts, tuned.facts):
        assert facts["precision"] == "bf16-mixed"
    assert all(math.isfinite(line["batch_loss"]) for line in tuned.log if "batch_loss" in line)


def test_the_held_out_loss_falls(texts: Items, base: Path, tmp_path: Path) -> None:
    longer = SPEC.model_copy(update={"pretrain": SPEC.pretrain.model_copy(update={"epochs": 8.0})})
    result = pretrain(base, texts.texts, longer, tmp_path)
    assert result.loss_after < result.loss_before


def test_frozen_layers_keep_their_weights(texts: Items, base: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    settings = SPEC.finetune.model_copy(update={"freeze_layers": 1, "epochs": 1})
    spec = SPEC.model_copy(update={"finetune": settings})
    before = weights(AutoModel.from_pretrained(base))
    after = weights(finetune(base, texts, texts, spec, tmp_path).model.base_model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in changed)
    assert any(name.startswith("encoder.layer.1.") for name in changed)


def test_gradients_are_clipped(texts: Items, base: Path, tmp_path: Path) -> None:
    """To a norm below Adam's epsilon, which then keeps the weights where they are."""
    from transformers import AutoModel

    before = weights(AutoModel.from_pretrained(base))
    moved = {}
    for norm in (None, 1e-12):
        spec = changed("finetune", epochs=1, batch_tokens=2048, clip_norm=norm, weight_decay=0.0)
        after = weights(finetune(base, texts, texts, spec, tmp_path / str(norm)).model.base_model)
        moved[norm] = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert moved[1e-12] < 0.01 * moved[None]


def test_more_frozen_layers_than_there_are_is_a_mistake(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    spec = changed("finetune", freeze_layers=3)
    with pytest.raises(UntrainableError, match="3, but the encoder has 2 layers; lower it"):
        finetune(base, texts, texts, spec, tmp_path)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_items_is_named(
    texts: Items, base: Path, tmp_path: Path, split: str
) -> None:
    given = [Items([], [], []) if name == split else texts for name in ("train", "validation")]
    with pytest.raises(UntrainableError, match=f"no item in its {split} split; label more"):
        finetune(base, given[0], given[1], SPEC, tmp_path)


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


@pytest.mark.parametrize("how", ["balanced", "sqrt"])
def test_a_part_gives_each_class_the_weight_that_it_has_in_the_whole(how: str) -> None:
    """As a warm start learns: many of the rare class are new, few of the other are replayed."""
    import numpy as np

    whole, part = np.array([0] * 900 + [1] * 200), np.array([0] * 45 + [1] * 150)
    shares = []
    for labels, weights in (
        (whole, class_weights(whole, 2, how)),
        (part, class_weights(part, 2, how, whole)),
    ):
        assert weights is not None
        of_items = weights.double().numpy()[labels]
        assert of_items.mean() == pytest.approx(1.0)
        shares.append(of_items[labels == 1].sum() / of_items.sum())
    assert shares[0] == pytest.approx(shares[1])


def first_loss(items: Items, base: Path, work: Path, whole: Any = None, **settings: Any) -> float:
    spec = changed("finetune", epochs=1, dropout=0.0, batch_tokens=10**6, **settings)
    (line, *_) = finetune(base, items, items, spec, work, whole=whole).log
    return float(line["batch_loss"])


def test_smoothing_and_class_weights_reach_the_loss(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    """Smoothed by alpha, targets are 1 - alpha of the class and alpha of all (SPEC T9)."""
    labels = ["negative" if number % 8 else "positive" for number in range(40)]
    skewed = Items(texts.texts[:40], labels, texts.groups[:40])
    hard, soft, softer = (
        first_loss(skewed, base, tmp_path / f"{alpha}", label_smoothing=alpha)
        for alpha in (0.0, 0.1, 0.2)
    )
    assert hard != soft
    assert softer - hard == pytest.approx(2 * (soft - hard), rel=1e-3)  # linear in alpha
    rooted = {"label_smoothing": 0.0, "class_weights": "sqrt"}
    weighted = first_loss(skewed, base, tmp_path / "sqrt", **rooted)
    assert weighted != pytest.approx(hard, rel=1e-4)
    again = first_loss(skewed, base, tmp_path / "again", whole=labels, **rooted)
    other = first_loss(skewed, base, tmp_path / "other", whole=texts.labels, **rooted)
    assert again == weighted != other


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


def test_dropout_is_what_the_yaml_says(texts: Items, base: Path, tmp_path: Path) -> None:
    """It acts in training, though from_pretrained returns a model in evaluation mode."""
    losses = {
        share: [
            line["batch_loss"]
            for line in finetune(
                base,
                texts,
                texts,
                changed("finetune", dropout=share, epochs=1),
                tmp_path / str(share),
            ).log
            if "batch_loss" in line
        ]
        for share in (0.0, 0.5)
    }
    assert losses[0.0][0] != losses[0.5][0]


def test_dropout_of_one_training_is_not_the_next_ones(
    texts: Items, base: Path, tmp_path: Path
) -> None:
    """`dropout: null` is the base model's, whatever it was pretrained with."""
    from transformers import AutoConfig

    result = pretrain(base, texts.texts, changed("pretrain", dropout=0.0), tmp_path / "run")
    result.model.save_pretrained(tmp_path / "pretrained")
    before, after = map(AutoConfig.from_pretrained, (base, tmp_path / "pretrained"))
    assert after.hidden_dropout_prob == before.hidden_dropout_prob > 0
