"""Several processes: two that train together do what one does that adds up two batches."""

import contextlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from vertical_assets.labels.splits import Items
from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.classification import Finetuned, finetune
from vertical_assets.training.loop.processes import (
    FAILURE,
    JOB,
    ProcessesError,
    WorkerDoneError,
    launch,
)
from vertical_assets.training.loop.worker import work_on
from vertical_assets_tests.conftest import reviews, tiny

HERE = "vertical_assets_tests.training.loop.test_processes"


def spec_of(**processes: object) -> VerticalSpec:
    return VerticalSpec(
        **tiny(
            model={**tiny()["model"], "hidden_size": 32, "max_tokens": 24},
            finetune={"epochs": 2, "batch_tokens": 128, "checkpoint_steps": 4},
            processes=processes,
        )
    )


def items() -> tuple[Items, Items]:
    rows = reviews(80)
    texts, labels, ids = ([row[key] for row in rows] for key in ("text", "sentiment", "id"))
    return (
        Items(texts[::2], labels[::2], ids[::2]),
        Items(texts[1::2], labels[1::2], ids[1::2]),
    )


def train_here(spec: VerticalSpec, work: Path, base: str) -> Finetuned:
    """What each process runs."""
    return finetune(Path(base), *items(), spec, work)


def untimed(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "tokens_per_s"}


def fails(spec: VerticalSpec, work: Path) -> None:
    raise RuntimeError("no such corpus")


STRATEGIES = ("ddp", "fsdp")


def train_both_ways(spec: VerticalSpec, work: Path, base: str) -> None:
    """What each process runs, one strategy after the other: starting processes takes longest."""
    for strategy in STRATEGIES:
        processes = spec.processes.model_copy(update={"strategy": strategy})
        with contextlib.suppress(WorkerDoneError):
            train_here(spec.model_copy(update={"processes": processes}), work / strategy, base)


def test_two_processes_train_as_one_with_doubled_accumulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = spec_of(accumulation=2)
    base = str(prepare_base(one, items()[0].texts, tmp_path / "base").path)
    alone = train_here(one, tmp_path / "alone", base)
    launch(f"{HERE}:train_both_ways", spec_of(devices=2), {"base": base}, tmp_path)
    for strategy in STRATEGIES:
        two = spec_of(devices=2, strategy=strategy)
        together = train_here(two, tmp_path / strategy, base)  # finds the finished training
        assert len(together.log) == len(alone.log)
        for left, right in zip(together.log, alone.log, strict=True):
            # Sums of the same numbers in another order: the last digits of a float differ, and
            # Adam divides small gradients by their small size, so that differences grow.
            assert untimed(left) == pytest.approx(untimed(right), rel=1e-3)
    assert alone.log[0]["batch_loss"] > alone.log[-2]["batch_loss"]


def test_a_failed_process_leaves_its_reason_for_the_launching_one(tmp_path: Path) -> None:
    spec = spec_of().model_dump(mode="json")
    job = {"function": f"{HERE}:fails", "spec": spec, "arguments": {"work": str(tmp_path)}}
    (tmp_path / JOB).write_text(json.dumps(job))
    with pytest.raises(RuntimeError):
        work_on(tmp_path / JOB)
    assert (tmp_path / FAILURE).read_text() == "RuntimeError: no such corpus"


def test_one_process_does_not_pass_for_two(tmp_path: Path) -> None:
    spec = spec_of(devices=2)
    base = str(prepare_base(spec, items()[0].texts, tmp_path / "base").path)
    with pytest.raises(ProcessesError, match=r"asks for 2 .* but 1 run"):
        train_here(spec, tmp_path / "run", base)


def test_machines_need_a_place_to_meet() -> None:
    with pytest.raises(ValidationError, match="needs 'rendezvous'"):
        Processes(num_nodes=2)
