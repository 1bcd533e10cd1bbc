"""Artifacts of models with modules: INT8 answers without torch, as the float model does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vertical_assets.release.task_predictor import TaskPredictor
from vertical_assets.release.task_quantization import QuantizationError, quantize_modules
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.answering import predict
from vertical_assets.training.modules.model import on_base
from vertical_assets.training.modules.scores import scores
from vertical_assets_tests.training.test_finetuning import (
    base,
    items,
    spec_of,
    trained,
)

__all__ = ["base"]  # the fixture
# torch's and transformers' own, while OpenVINO traces a model.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning",
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:.*Converting a tensor:torch.jit.TracerWarning",
)
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "nncf", "lightning", "sklearn", "pandas", "scipy"):
    sys.modules[name] = None  # importing it is an error now
import json
from pathlib import Path
from vertical_assets.release.task_predictor import TaskPredictor
print(json.dumps(TaskPredictor(Path(sys.argv[1])).predict(json.loads(sys.argv[2]))))
"""


def quantized(base: Path, spec: VerticalSpec, folder: Path) -> tuple[Path, Path]:
    """(checkpoint, artifact) of a model trained on made-up notes."""
    trained(base, spec, folder)
    learned = items(spec.task.kind, 100, 1)
    (folder / "artifact").mkdir()
    quantize_modules(
        folder / "checkpoint", learned.texts, learned.questions, spec, folder / "artifact", {}
    )
    return folder / "checkpoint", folder / "artifact"


@pytest.mark.parametrize(
    ("kind", "modules", "score", "most"),
    [
        ("entities", [{"type": "bilstm_crf", "hidden": 16}], "val_span_f1", 0.05),
        ("question_answering", None, "val_answer_f1", 0.1),
    ],
)
def test_int8_answers_as_the_float_model(
    base: Path, tmp_path: Path, kind: str, modules: Any, score: str, most: float
) -> None:
    spec = spec_of(kind, modules)
    checkpoint, artifact = quantized(base, spec, tmp_path)
    held = items(kind, 40, 2)
    exact = predict(checkpoint, held.texts, spec, held.questions)
    answers = TaskPredictor(artifact).answers(held.texts, held.questions)
    before, after = (
        scores(kind, held.labels, each, spec.labels)[score] for each in (exact, answers)
    )
    assert after > before - most
    alone = TaskPredictor(artifact).answers(held.texts[:1], held.questions and held.questions[:1])
    assert alone[0].target == answers[0].target
    if kind == "entities":
        found, nothing = in_a_process_without_torch(artifact, ["one aspirin and two cough", ""])
        assert [(span["label"], span["start"], span["end"]) for span in found["spans"]] == [
            ("drug", 4, 11),
            ("disease", 20, 25),
        ]
        assert nothing["spans"] == []


def in_a_process_without_torch(artifact: Path, texts: list[str]) -> Any:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(artifact), json.dumps(texts)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_model_that_reads_features_says_that_it_cannot_be_released(
    base: Path, tmp_path: Path
) -> None:
    modules = [{"type": "sequence"}, {"type": "tfidf"}]
    spec = spec_of("multi_label", modules, fusion="weighted_sum")
    on_base(base, spec, {"tfidf": 10}).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(QuantizationError, match="read tfidf, which the INT8 artifact can't carry"):
        quantize_modules(tmp_path / "checkpoint", ["x"], None, spec, tmp_path, {})
