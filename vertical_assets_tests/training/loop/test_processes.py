"""Several processes: two that train together do what one does that adds up two batches."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Span
from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.classification import Finetuned
from vertical_assets.training.finetuning import finetune
from vertical_assets.training.generation.causal import pretrain_decoder
from vertical_assets.training.generation.decoders import prepare_decoder
from vertical_assets.training.generation.instruction import tune
from vertical_assets.training.loop.checkpoint_io import global_step
from vertical_assets.training.loop.loop import LAST
from vertical_assets.training.loop.processes import (
    FAILURE,
    JOB,
    ProcessesError,
    WorkerDoneError,
    launch,
    layers_of,
)
from vertical_assets.training.loop.worker import work_on
from vertical_assets.training.modules.model import on_base
from vertical_assets_tests.conftest import questions_of, reviews, tiny, tiny_generation
from vertical_assets_tests.training.loop.test_loop import KilledError, kill_at

HERE = "vertical_assets_tests.training.loop.test_processes"


FINETUNE = {"epochs": 2, "batch_tokens": 128, "checkpoint_steps": 4}
FUSED = {
    "modules": [{"type": "sequence", "pooling": "mean"}, {"type": "bilstm", "hidden": 8}],
    "fusion": "attention_gate",
}
ENTITIES = {
    "task": {"name": "heads", "kind": "entities", "labels": {"head": "The first two characters."}},
    "annotation": {"path": "labels.jsonl"},
}


def spec_of(
    model: dict[str, Any] | None = None, task: dict[str, Any] | None = None, **processes: object
) -> VerticalSpec:
    return VerticalSpec(
        **tiny(
            model={**tiny()["model"], "hidden_size": 32, "max_tokens": 24, **(model or {})},
            finetune=FINETUNE,
            processes=processes,
            **(task or {}),
        )
    )


def decoder_of(lora: dict[str, Any] | None = None, **processes: object) -> VerticalSpec:
    training = {**FINETUNE, "batch_tokens": 192}
    return VerticalSpec(
        **tiny_generation(
            pretrain=training, finetune=training, instruct={"lora": lora}, processes=processes
        )
    )


def items() -> tuple[Items, Items]:
    rows = reviews(80)
    texts, labels, ids = ([row[key] for row in rows] for key in ("text", "sentiment", "id"))
    return (
        Items(texts[::2], labels[::2], ids[::2]),
        Items(texts[1::2], labels[1::2], ids[1::2]),
    )


def heads() -> tuple[Items, Items]:
    """The same texts, of each the first two characters to be found."""
    train_set, held = (
        Items(each.texts, [(Span(0, 2, "head"),)] * len(each.texts), each.groups)
        for each in items()
    )
    return train_set, held


def pairs() -> tuple[Pairs, Pairs]:
    rows = [row for row in questions_of("shutil", "bisect") if len(row["text"]) < 200]
    asked, answered = ([row[name] for row in rows] for name in ("question", "text"))
    return Pairs(asked[::2], answered[::2]), Pairs(asked[1::2], answered[1::2])


# What trains together: of an encoder's folder, a decoder's, the processes and a work folder.
Training = Callable[[Path, Path, dict[str, Any], Path], Any]
TRAININGS: dict[str, Training] = {
    "classifier": lambda encoder, _, ways, work: finetune(encoder, *items(), spec_of(**ways), work),
    "fused modules": lambda encoder, _, ways, work: finetune(
        encoder, *items(), spec_of(FUSED, **ways), work
    ),
    "entities": lambda encoder, _, ways, work: finetune(
        encoder, *heads(), spec_of(task=ENTITIES, **ways), work
    ),
    "decoder": lambda _, decoder, ways, work: pretrain_decoder(
        decoder, pairs()[0].answers, decoder_of(**ways), work
    ),
    "adapters": lambda _, decoder, ways, work: tune(
        decoder, *pairs(), decoder_of({"rank": 4, "alpha": 8}, **ways), work
    ),
}


def train_here(spec: VerticalSpec, work: Path, base: str) -> Finetuned:
    """What each process runs."""
    return finetune(Path(base), *items(), spec, work)


def untimed(line: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name != "tokens_per_s"}


def fails(spec: VerticalSpec, work: Path) -> None:
    raise RuntimeError("no such corpus")


STRATEGIES = ("ddp", "fsdp")
KILLED_FIRST = "entities"  # and resumed: nothing is to be seen of it


def ways_of(strategy: str) -> dict[str, Any]:
    return {"devices": 2, "strategy": strategy}


def train_all(spec: VerticalSpec, work: Path, encoder: str, decoder: str) -> None:
    """What each process runs, one training after the other: starting processes takes longest."""
    for strategy in STRATEGIES:
        for name, training in TRAININGS.items():
            folder = work / strategy / name
            given = Path(encoder), Path(decoder), ways_of(strategy), folder
            if name == KILLED_FIRST:
                with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KilledError):
                    kill_at(5, patch)
                    training(*given)
                assert global_step(folder / LAST) == 4
            with contextlib.suppress(WorkerDoneError):
                training(*given)


def test_two_processes_train_as_one_with_doubled_accumulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is trained: a classifier, modules of their own, a CRF, a decoder, its adapters."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    encoder = prepare_base(spec_of(), items()[0].texts, tmp_path / "encoder").path
    decoder = prepare_decoder(decoder_of(), pairs()[0].answers, tmp_path / "decoder").path
    bases = {"encoder": str(encoder), "decoder": str(decoder)}
    launch(f"{HERE}:train_all", spec_of(devices=2), bases, tmp_path)
    for name, training in TRAININGS.items():
        alone = training(encoder, decoder, {"accumulation": 2}, tmp_path / "alone" / name)
        losses = [line["batch_loss"] for line in alone.log if "batch_loss" in line]
        assert losses[0] > losses[-1]
        for strategy in STRATEGIES:
            # Finds the finished training.
            work = tmp_path / strategy / name
            together = training(encoder, decoder, ways_of(strategy), work)
            assert len(together.log) == len(alone.log)
            for left, right in zip(together.log, alone.log, strict=True):
                # Sums of the same numbers in another order: the last digits of a float differ, and
                # Adam divides small gradients by their small size, so that differences grow.
                assert untimed(left) == pytest.approx(untimed(right), rel=1e-3), (name, strategy)


def test_layers_are_the_encoders_however_many_modules_are_fused(tmp_path: Path) -> None:
    three = [*FUSED["modules"], {"type": "tfidf"}]
    spec = spec_of({**FUSED, "modules": three}, {"features": {"tfidf": {}}})
    base = prepare_base(spec, items()[0].texts, tmp_path).path
    layers = layers_of(on_base(base, spec, {"tfidf": 8}))
    assert [type(layer).__name__ for layer in layers] == ["BertLayer"] * 2


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
