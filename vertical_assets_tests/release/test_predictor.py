"""The artifact: predicts without torch, and says so when a file is not the released one."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from vertical_assets.release.artifacts import gates_of
from vertical_assets.release.files import DamagedArtifactError, checksums
from vertical_assets.release.predictor import Predictor
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.gates import Gate
from vertical_assets.store.versions import Table
from vertical_assets_tests.conftest import Project, tiny

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
    from vertical_assets.training.classification import predict_probabilities

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


def gates(built: Project, artifact: Path) -> dict[str, Gate]:
    """Verdicts on an artifact beside what else is stored."""
    predictions, labeled = (
        Table((UPath(built.current(name)),)).read() for name in ("predictions", "labeled_set")
    )
    spec = VerticalSpec(**tiny())
    return {gate.gate: gate for gate in gates_of(artifact, predictions, labeled, spec)}


def test_gates_are_computed_from_what_is_stored(built: Project, artifact: Path) -> None:
    found = gates(built, artifact)
    assert set(found) == {"f1_drop", "argmax_agreement", "size_ratio"}
    assert [name for name, gate in found.items() if gate.blocking] == ["f1_drop"]
    assert found["f1_drop"].passed
    assert found["argmax_agreement"].value == pytest.approx(1.0, abs=0.06)
    assert not found["size_ratio"].passed  # a new model of two layers: INT8 alone
    assert "of the float base as found" in found["size_ratio"].why


def test_a_ruined_quantization_passes_no_gate(
    built: Project, artifact: Path, tmp_path: Path
) -> None:
    """INT8 weights put in a wrong order, in the written file: first as damage, then with checksums
    that fit, as by a hand that writes both.
    """
    ruined = tmp_path / "artifact"
    shutil.copytree(artifact, ruined)
    weights = bytearray((ruined / "model.bin").read_bytes())
    found = re.findall(
        r'element_type="i8"[^>]*offset="(\d+)" size="(\d+)"', (ruined / "model.xml").read_text()
    )
    assert len(found) > 10
    for offset, size in found:
        place = slice(int(offset), int(offset) + int(size))
        values = np.frombuffer(weights[place], np.int8)
        weights[place] = np.random.default_rng(0).permutation(values).tobytes()
    (ruined / "model.bin").write_bytes(weights)
    damaged = gates(built, ruined)
    assert set(damaged) == {"f1_drop"}
    assert not damaged["f1_drop"].passed
    assert "model.bin is not the file that was released" in damaged["f1_drop"].why
    manifest = json.loads((ruined / "manifest.json").read_text())
    manifest["checksums"] = checksums(ruined)
    (ruined / "manifest.json").write_text(json.dumps(manifest))
    judged = gates(built, ruined)
    assert not judged["f1_drop"].passed
    assert judged["f1_drop"].blocking
    assert (judged["f1_drop"].value or 0) > 0.1
    assert not judged["argmax_agreement"].passed


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
