"""Distillation: the cut model comes closer to the whole one, and survives being killed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertModel

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import cut_layers
from vertical_assets.training.adaptation.distillation import DistillationModule, distill, taught_by
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.loop.loop import LAST, Plan
from vertical_assets.training.loop.schedules import Rate
from vertical_assets.training.pretraining import pretrain
from vertical_assets_tests.conftest import reviews, tiny
from vertical_assets_tests.training.encoders import write_encoder
from vertical_assets_tests.training.loop.test_loop import KilledError, kill_at, weights

SETTINGS = {"epochs": 2, "batch_tokens": 512, "learning_rate": 5e-3, "checkpoint_steps": 3}
SPEC = VerticalSpec(
    **tiny(
        model={
            "base": "path",
            "path": "given",
            "layers": [0, 2],
            "distill": SETTINGS,
            "max_tokens": 32,
        },
        pretrain={"held_out": 0.1, "epochs": 0.1, "batch_tokens": 512},
    )
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [row["text"] for row in reviews(120)]


@pytest.fixture(scope="module")
def models(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(teacher, student)."""
    folder = tmp_path_factory.mktemp("models")
    teacher = write_encoder("bert", texts, folder / "teacher")
    cut_layers(teacher, [0, 2], folder / "student")
    return teacher, folder / "student"


def module_of(teacher: Path, student: Path, layers: list[int]) -> DistillationModule:
    from vertical_assets.training.loop.checkpoints import open_base

    (model, tokenizer), (whole, _) = open_base(student), open_base(teacher)
    settings = SPEC.model.distill
    assert settings is not None
    plan = Plan(settings, Rate(0.1, "for a test"), seed=1, monitor="val_loss", mode="min")
    return DistillationModule(model, whole, tokenizer, layers, settings, 0.15, plan, 1)


def test_each_layer_stands_for_those_cut_after_it() -> None:
    assert taught_by([0, 2, 4, 6, 8, 10], 12) == [1, 3, 5, 7, 9, 11]
    assert taught_by([0, 11], 12) == [10, 11]


def test_a_model_that_is_its_teacher_has_nothing_to_learn(
    models: tuple[Path, Path], texts: list[str]
) -> None:
    teacher, student = models
    for path, layers, equal in ((teacher, [0, 1, 2, 3], True), (student, [0, 2], False)):
        module = module_of(teacher, path, layers)
        batch = tokenized(texts, module.masking.tokenizer, SPEC).padded(range(20))
        losses = module.held_out([batch])
        assert all((loss < 1e-6) == equal for loss in (losses.total, losses.hidden, losses.output))


def test_padding_counts_for_nothing(models: tuple[Path, Path], texts: list[str]) -> None:
    module = module_of(*models, [0, 2]).eval()
    ids, mask = tokenized(texts, module.masking.tokenizer, SPEC).padded([0])
    wider = [torch.nn.functional.pad(part, (0, 5)) for part in (ids, mask)]
    module.with_head = False  # masks would be drawn anew for another width
    for one, other in zip(module.losses(ids, mask), module.losses(*wider), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", [True, False])
def test_the_student_comes_closer_and_pretraining_goes_on_from_it(
    models: tuple[Path, Path], texts: list[str], tmp_path: Path, head: bool
) -> None:
    teacher, student = models
    if not head:  # a sentence encoder's outputs are its embeddings
        for path, name in ((teacher, "whole"), (student, "part")):
            target = tmp_path / name
            BertModel.from_pretrained(path, add_pooling_layer=False).save_pretrained(target)
            for file in path.glob("tokenizer*"):
                (target / file.name).write_bytes(file.read_bytes())
        teacher, student = tmp_path / "whole", tmp_path / "part"
    result = distill(teacher, student, texts, SPEC, tmp_path / "work")
    assert result.after.hidden < 0.8 * result.before.hidden
    assert result.after.output < result.before.output
    if head:
        model = AutoModelForMaskedLM.from_pretrained(result.path)
        assert len(model.base_model.encoder.layer) == 2
        assert pretrain(result.path, texts, SPEC, tmp_path / "mlm").loss_before > 0
    else:
        whole, trained = (BertModel.from_pretrained(p) for p in (teacher, result.path))
        assert len(trained.encoder.layer) < len(whole.encoder.layer)


def test_killed_and_resumed_is_bit_equal_to_unbroken_and_is_done_once(
    models: tuple[Path, Path], texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = distill(*models, texts, SPEC, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        kill_at(7, patch)
        with pytest.raises(KilledError):
            distill(*models, texts, SPEC, tmp_path / "killed")
    assert (tmp_path / "killed" / LAST).exists()
    resumed = distill(*models, texts, SPEC, tmp_path / "killed")
    expected, found = (
        weights(AutoModelForMaskedLM.from_pretrained(it.path)) for it in (unbroken, resumed)
    )
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (resumed.before, resumed.after) == (unbroken.before, unbroken.after)

    def train_again(*_: Any) -> None:
        raise AssertionError("a finished distillation was trained again")

    monkeypatch.setattr("vertical_assets.training.adaptation.distillation.train", train_again)
    assert distill(*models, texts, SPEC, tmp_path / "killed") == resumed
