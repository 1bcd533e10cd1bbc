"""Logs: JSON lines and CSV, TensorBoard, and figures while the training runs (SPEC T10, T11)."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from vertical_assets.labels.splits import Items
from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.store.versions import LOG, LOG_TABLE
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.classification import Finetuned, finetune
from vertical_assets.training.loop.checkpoints import write_checkpoint
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.schedules import Schedule
from vertical_assets_tests.conftest import reviews, tiny

SPEC = VerticalSpec(**tiny(finetune={"epochs": 2, "batch_tokens": 512}))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finetuned, list[Any]]:
    """(folder, result, figures told while it ran) of a training."""
    folder = tmp_path_factory.mktemp("run")
    rows = reviews(120)
    items = Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))
    base = prepare_base(SPEC, items.texts, folder / "base").path
    told: list[Any] = []
    watch = Watch(board=folder / "board", live=told.append)
    return folder, finetune(base, items, items, SPEC, folder / "work", watch), told


def test_json_lines_with_the_specifications_fields(
    watched: tuple[Path, Finetuned, list[Any]],
) -> None:
    lines = [json.loads(line) for line in (watched[0] / "work" / LOG).read_text().splitlines()]
    steps = [line for line in lines if "batch_loss" in line]
    wanted = {"epoch", "step", "of", "batch_loss", "learning_rate", "tokens_per_s"}
    assert all(set(line) == wanted for line in steps)
    assert all(line["tokens_per_s"] > 0 for line in steps)
    factor = Schedule().factor(len(steps))
    rates = [0.0005 * factor(step) for step in range(len(steps))]
    assert [line["learning_rate"] for line in steps] == pytest.approx(rates)
    assert sum("val_accuracy" in line for line in lines) == 2


def test_the_checkpoint_carries_the_log_as_csv_too(
    watched: tuple[Path, Finetuned, list[Any]], tmp_path: Path
) -> None:
    result = watched[1]
    write_checkpoint(tmp_path, result.model, result.tokenizer, {}, result.log)
    rows = list(csv.DictReader(io.StringIO((tmp_path / LOG_TABLE).read_text())))
    assert {"epoch", "step", "batch_loss", "val_accuracy"} <= set(rows[0])
    assert len(rows) == len(result.log)
    found = [float(row["batch_loss"]) for row in rows if row["batch_loss"]]
    assert found == [line["batch_loss"] for line in result.log if "batch_loss" in line]


def test_tensorboard_has_curves_and_distributions(
    watched: tuple[Path, Finetuned, list[Any]],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, result, _ = watched
    board = EventAccumulator(str(folder / "board"), {"histograms": 0}).Reload()
    tags = board.Tags()
    assert {"batch_loss", "learning_rate", "val_accuracy"} <= set(tags["scalars"])
    losses = [line["batch_loss"] for line in result.log if "batch_loss" in line]
    assert [event.value for event in board.Scalars("batch_loss")] == pytest.approx(losses)
    name = "model.bert.embeddings.word_embeddings.weight"
    assert name in tags["histograms"]
    assert len(board.Histograms(name)) == 2  # one at every validation


def test_a_step_of_several_batches_has_one_loss(tmp_path: Path) -> None:
    """That of all its batches, in every place where it is told."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = reviews(80)
    items = Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))
    spec = SPEC.model_copy(update={"processes": Processes(accumulation=2)})
    base = prepare_base(spec, items.texts, tmp_path / "base").path
    told: list[Any] = []
    watch = Watch(board=tmp_path / "board", live=told.append)
    log = finetune(base, items, items, spec, tmp_path / "work", watch).log
    losses = {line["step"]: line["batch_loss"] for line in log if "batch_loss" in line}
    assert 0.4 < losses[1] < 1.1  # about ln 2, not half of it
    board = EventAccumulator(str(tmp_path / "board")).Reload().Scalars("batch_loss")
    assert {event.step: event.value for event in board} == pytest.approx(losses)
    assert len(board) == len(losses)
    for figures in told:
        assert figures["batch_loss"] == losses[figures["step"]]


def test_every_validation_is_told_while_it_runs(
    watched: tuple[Path, Finetuned, list[Any]],
) -> None:
    _, result, told = watched
    validated = [line["val_accuracy"] for line in result.log if "val_accuracy" in line]
    assert [figures["val_accuracy"] for figures in told] == validated
    assert all({"step", "batch_loss", "val_loss"} <= set(figures) for figures in told)
