"""Modules in training: each kind of task learns, is saved and answers as it did in memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.inference.cascade import first_stage
from vertical_assets.inference.windows import single_windows
from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.answering import label_probabilities, predict
from vertical_assets.training.cascade import add_cascade
from vertical_assets.training.classification import Finetuned
from vertical_assets.training.finetuning import finetune, label_weights, odds_against
from vertical_assets.training.loop.checkpoints import write_checkpoint
from vertical_assets.training.modules.data import Inputs, labelled
from vertical_assets.training.modules.model import VerticalModel, is_vertical
from vertical_assets.training.modules.registry import INTERFACE, write_interface
from vertical_assets.training.modules.scores import scores
from vertical_assets_tests.conftest import tiny

WORDS = ["aspirin", "insulin", "fever", "cough", "the", "of", "and", "one", "two", "three"]
TYPES = {"aspirin": "drug", "insulin": "drug", "fever": "disease", "cough": "disease"}
LABELS = {
    "entities": {"drug": "", "disease": ""},
    "multi_label": {"aspirin": "", "fever": ""},
    "classification": {"few": "", "many": ""},
}


class Bag:
    """A sparse feature: which of some words a text has."""

    def transform(self, texts: list[str]) -> csr_matrix:
        rows = [[float(word in text.split()) for word in WORDS] for text in texts]
        return csr_matrix(np.array(rows, np.float32))


class Length:
    """A dense feature: how long a text is."""

    def transform(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text.split()) / 20] for text in texts], np.float32)


def spec_of(kind: str, modules: list[dict[str, Any]] | None = None, **model: Any) -> VerticalSpec:
    task: dict[str, Any] = {"name": "notes", "kind": kind}
    if kind in LABELS:
        task["labels"] = LABELS[kind]
    size = {"layers": [0, 1], "hidden_size": 32, "vocabulary": 120, "max_tokens": 20}
    training = {"epochs": 4, "batch_tokens": 256, "learning_rate": 0.005, "label_smoothing": 0.0}
    return VerticalSpec(
        **tiny(
            language="en",
            task=task,
            annotation={"path": "labels.jsonl"},
            features={name: {} for name in ("tfidf", "word_vectors")},
            model={"base": "scratch", **size, "modules": modules, **model},
            finetune={**training, "checkpoint_steps": 1000},
        )
    )


def items(kind: str, count: int, seed: int) -> Items:
    """Made-up notes, many longer than a window, with targets that can be read off them."""
    rng = np.random.default_rng(seed)
    texts, targets, questions = [], [], []
    for number in range(count):
        words = [WORDS[at] for at in rng.integers(0, len(WORDS), rng.integers(5, 30))]
        text = " ".join(words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words)])
        spans = [
            Span(int(start), int(start) + len(word), TYPES[word])
            for start, word in zip(starts, words, strict=False)
            if word in TYPES
        ]
        asked = ("drug", "disease")[number % 2]
        answers = [Span(s.start, s.end, "answer") for s in spans if s.label == asked]
        texts.append(text)
        questions.append(asked)
        targets.append(
            {
                "entities": tuple(spans),
                "question_answering": tuple(answers),
                "regression": 50.0 + 2 * len(words),
                "multi_label": tuple(w for w in LABELS["multi_label"] if w in words),
                "classification": "many" if len(words) > 17 else "few",
            }[kind]
        )
    asks = questions if kind == "question_answering" else None
    return Items(texts, targets, [str(n) for n in range(count)], asks)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = items("regression", 100, 0).texts
    return prepare_base(spec_of("regression"), texts, tmp_path_factory.mktemp("base")).path


def trained(
    base: Path, spec: VerticalSpec, folder: Path, sources: dict[str, Any] | None = None
) -> tuple[Finetuned, Items]:
    kind = spec.task.kind
    train_set, held = items(kind, 100, 1), items(kind, 40, 2)
    result = finetune(base, train_set, held, spec, folder / "work", sources=sources)
    write_checkpoint(folder / "checkpoint", result.model, result.tokenizer, {}, result.log)
    return result, held


@pytest.mark.parametrize(
    ("kind", "modules", "score", "least"),
    [
        ("entities", None, "val_span_f1", 0.9),  # the natural module: CRF (SPEC M5)
        ("entities", [{"type": "bilstm_crf", "hidden": 16}], "val_span_f1", 0.9),
        ("question_answering", None, "val_answer_f1", 0.5),
        ("multi_label", [{"type": "bilstm", "hidden": 16}], "val_f1_macro", 0.8),
    ],
)
def test_a_module_learns_and_its_checkpoint_answers_alike(
    base: Path, tmp_path: Path, kind: str, modules: Any, score: str, least: float
) -> None:
    spec = spec_of(kind, modules)
    result, held = trained(base, spec, tmp_path)
    best = max(line[score] for line in result.log if score in line)
    assert best > least
    answers = predict(tmp_path / "checkpoint", held.texts, spec, held.questions)
    assert scores(kind, held.labels, answers, spec.labels)[score] == pytest.approx(best, abs=1e-6)
    assert all("val_accuracy" in line for line in result.log if "val_loss" in line)  # SPEC T10
    if kind == "entities":
        assert result.facts["windows"] > result.facts["texts"]  # long notes are not cut
        assert result.facts["spans_across_tokens_or_windows"] == 0


def test_regression_is_judged_by_its_mean_absolute_error(base: Path, tmp_path: Path) -> None:
    spec = spec_of("regression")
    result, held = trained(base, spec, tmp_path)
    errors = [line["val_mae"] for line in result.log if "val_mae" in line]
    answers = predict(tmp_path / "checkpoint", held.texts, spec)
    kept = scores("regression", held.labels, answers, ())["val_mae"]
    assert kept == pytest.approx(min(errors), rel=1e-4)  # the best weights, not the last ones
    assert kept < float(np.abs(np.array(held.labels) - np.median(held.labels)).mean())
    assert answers[0].confidence is None


def test_fusion_reads_features_and_reports_its_weights(base: Path, tmp_path: Path) -> None:
    names = ["sequence", "tfidf", "word_vectors"]
    spec = spec_of("classification", [{"type": n} for n in names], fusion="weighted_sum")
    sources: dict[str, Any] = {"tfidf": Bag(), "word_vectors": Length()}
    result, held = trained(base, spec, tmp_path, sources)
    shares = [result.facts[f"fusion_weight_{name}"] for name in names]
    assert sum(shares) == pytest.approx(1.0, abs=1e-5)
    assert is_vertical(tmp_path / "checkpoint")
    kept = label_probabilities(tmp_path / "checkpoint", held.texts, spec, sources)
    assert np.allclose(kept.sum(1), 1.0)

    class Nothing(Bag):
        def transform(self, texts: list[str]) -> csr_matrix:
            return super().transform(texts) * 0

    without = {**sources, "tfidf": Nothing()}
    blind = label_probabilities(tmp_path / "checkpoint", held.texts, spec, without)
    assert not np.allclose(kept, blind, atol=1e-3)


def test_a_feature_that_is_not_there_is_named(base: Path, tmp_path: Path) -> None:
    modules = [{"type": "sequence"}, {"type": "tfidf"}]
    spec = spec_of("classification", modules, fusion="attention_gate")
    with pytest.raises(ValueError, match=r"configure it under 'features\.tfidf'"):
        finetune(base, items("classification", 9, 1), items("classification", 9, 2), spec, tmp_path)


def test_a_plain_classification_stays_a_standard_checkpoint_with_its_cascade_beside(
    base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    spec = spec_of("classification", cascade={"threshold": 0.7})
    result, held = trained(base, spec, tmp_path)
    checkpoint = tmp_path / "checkpoint"
    train_set = items("classification", 100, 1)
    curve = add_cascade(checkpoint, train_set, held, spec)
    opened = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    assert not is_vertical(checkpoint)
    assert all(
        torch.equal(value, result.model.state_dict()[name])
        for name, value in opened.state_dict().items()
    )
    network = label_probabilities(checkpoint, held.texts, spec, with_cascade=False)
    together = label_probabilities(checkpoint, held.texts, spec)
    stage = first_stage(checkpoint)
    assert stage is not None
    sure = stage.sure(stage.probabilities(held.texts))
    assert np.allclose(together[~sure], network[~sure], atol=1e-6)
    at = next(row for row in curve if row["threshold"] == 0.7)
    assert at["coverage"] == pytest.approx(sure.mean())
    gold = np.array([spec.labels.index(label) for label in held.labels])
    assert at["accuracy"] == pytest.approx((together.argmax(1) == gold).mean())


def test_a_rare_label_weighs_as_much_as_it_is_rare(base: Path) -> None:
    """SPEC E1; of a part, as in the whole training split."""
    from transformers import AutoTokenizer

    spec, labels = spec_of("multi_label"), tuple(LABELS["multi_label"])
    whole: list[tuple[str, ...]] = [("aspirin",), *[("fever",)] * 8, ()]  # 1 and 8 of 10
    part = whole[:5]  # 1 and 4 of 5
    tokenizer = AutoTokenizer.from_pretrained(base).backend_tokenizer
    windows = single_windows(["the cough"] * 5, tokenizer, 0, 20, Terms(()))
    learned = labelled("multi_label", labels, part, Inputs(windows))

    def found(how: str) -> Any:
        weighed = spec.finetune.model_copy(update={"class_weights": how})
        changed = spec.model_copy(update={"finetune": weighed})
        weights = label_weights(learned, labels, changed, whole)
        return None if weights is None else weights.tolist()

    assert found("none") is None
    assert found("balanced") == pytest.approx([4 / 1, 1 / 4])
    # Items with the label against those without: the root of 1/9 and of 8/2, as in the whole.
    assert found("sqrt") == pytest.approx([4 * (1 / 9) ** 0.5, 1 / 4 * (8 / 2) ** 0.5])
    everywhere = odds_against(np.ones((3, 1), np.float32))
    assert everywhere.tolist() == [1.0]  # not 0: it would never be learnt


def test_the_checkpoint_describes_its_interface(tmp_path: Path) -> None:
    spec = spec_of("entities")
    write_interface(
        tmp_path, "entities", [m.model_dump() for m in spec.model.modules_of("entities")]
    )
    described = json.loads((tmp_path / INTERFACE).read_text())
    assert described["modules"][0]["type"] == "crf"
    assert described["output"]["properties"]["spans"]["type"] == "array"


def test_frozen_layers_keep_their_weights_under_modules(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    spec = spec_of("multi_label")
    settings = spec.finetune.model_copy(update={"freeze_layers": 1, "epochs": 1})
    spec = spec.model_copy(update={"finetune": settings})
    result, _ = trained(base, spec, tmp_path)
    before = AutoModel.from_pretrained(base).state_dict()
    assert isinstance(result.model, VerticalModel)
    after = result.model.encoder.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder.layer.1.") for name in changed)
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in changed)
