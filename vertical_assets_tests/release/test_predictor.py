"""The artifact: predicts without torch, and says so when a file is not the released one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vertical_assets.release.predictor import DamagedArtifactError, Predictor
from vertical_assets_tests.conftest import Project

TEXTS = ["质量很好，下次还来。", "太差了，再也不买。", "一般"]
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "nncf", "lightning", "sklearn", "pandas"):
    sys.modules[name] = None  # importing it is an error now
import json
from pathlib import Path
from vertical_assets.release.predictor import Predictor
print(json.dumps(Predictor(Path(sys.argv[1])).predict(json.loads(sys.argv[2]))))
"""


@pytest.fixture
def artifact(built: Project) -> Path:
    return built.current("quantized_artifact")


def test_predicts_in_a_process_that_cannot_import_torch(artifact: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(artifact), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(result.stdout)
    assert [set(answer) for answer in answers] == [{"label", "confidence"}] * 3
    assert all(answer["label"] in ("positive", "negative") for answer in answers)
    assert all(0.5 <= answer["confidence"] <= 1 for answer in answers)


def test_probabilities_do_not_depend_on_the_company(artifact: Path) -> None:
    predictor = Predictor(artifact)
    together = predictor.probabilities(TEXTS)
    alone = np.concatenate([predictor.probabilities([text]) for text in TEXTS])
    assert np.allclose(together.sum(axis=1), 1.0, atol=1e-6)
    assert np.allclose(together, alone, atol=0.02)  # INT8: padding moves activations a little


def test_int8_is_close_to_the_float_model(built: Project) -> None:
    from vertical_assets.spec import VerticalSpec
    from vertical_assets.training.classification import predict_probabilities
    from vertical_assets_tests.conftest import tiny

    exact = predict_probabilities(built.current("finetuned_ckpt"), TEXTS, VerticalSpec(**tiny()))
    quantized = Predictor(built.current("quantized_artifact")).probabilities(TEXTS)
    assert np.abs(exact - quantized).max() < 0.1


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "artifact.json"])
def test_a_changed_file_is_named(artifact: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(artifact, copy)
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(DamagedArtifactError, match=f"{name} is not the file that was released"):
        Predictor(copy)


def test_plain_transformers_opens_the_checkpoints(built: Project) -> None:
    from transformers import (
        AutoModel,
        AutoModelForMaskedLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    pretrained, finetuned = built.current("pretrained_ckpt"), built.current("finetuned_ckpt")
    AutoModelForMaskedLM.from_pretrained(pretrained)
    AutoModel.from_pretrained(pretrained)
    model = AutoModelForSequenceClassification.from_pretrained(finetuned)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    inputs = AutoTokenizer.from_pretrained(finetuned)(TEXTS[0], return_tensors="pt")
    assert model(**inputs).logits.shape == (1, 2)


def test_manifests_name_inputs_that_were_stored(built: Project) -> None:
    manifest = json.loads((built.current("finetuned_ckpt") / "manifest.json").read_text())
    assert manifest["inputs"]["pretrained_ckpt"] == built.current("pretrained_ckpt").name
    assert manifest["inputs"]["labeled_set"] == built.current("labeled_set").name
    assert manifest["seed"] == 20_240_501
    assert {"torch", "transformers"} <= set(manifest["packages"])
