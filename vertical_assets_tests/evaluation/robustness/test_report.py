"""The report's scores are scikit-learn's, its gates refuse, and FGSM makes the loss rise."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from sklearn.metrics import f1_score, r2_score
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from vertical_assets.evaluation.robustness.fgsm import attacked, fgsm_answers
from vertical_assets.evaluation.robustness.pages import picture_of
from vertical_assets.evaluation.robustness.report import (
    FGSM,
    gates_of,
    measure,
)
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import LABELED, ROBUSTNESS
from vertical_assets.training.answering import predict
from vertical_assets.training.modules.model import on_base
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.training.encoders import write_encoder

TEXTS = ["aspirin helps the head", "fever and cough again", "insulin of the day"] * 4
LABELS = {"a": "", "b": ""}
SETTINGS = {"items": 10, "levels": [0.1], "epsilons": [0.1, 0.4]}
TARGETS: dict[str, list[Any]] = {
    "classification": ["a", "b", "a"] * 4,
    "multi_label": [("a",), ("a", "b"), ()] * 4,
    "regression": [1.0, 2.0, 4.0] * 4,
    "entities": [(Span(0, 7, "a"),), (Span(0, 5, "b"), Span(10, 15, "b")), ()] * 4,
    "question_answering": [(Span(0, 7, "answer"),), (Span(10, 15, "answer"),), ()] * 4,
}
SPANS = ("entities", "question_answering")
QUESTION = "what helps the head"
COLUMNS = {"classification": "label", "multi_label": "labels", "regression": "value"}


def spec_of(kind: str, **robustness: Any) -> VerticalSpec:
    without = ("regression", "question_answering")
    task = {"name": "t", "kind": kind} | ({} if kind in without else {"labels": LABELS})
    people = {"path": "labels/*.jsonl"}
    settings = {"robustness": {**SETTINGS, **robustness}}
    return VerticalSpec(**tiny(language="en", task=task, annotation=people, evaluate=settings))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder("bert", TEXTS, tmp_path_factory.mktemp("base"), layers=2)


def checkpoint_of(kind: str, base: Path, out: Path) -> Path:
    torch.manual_seed(1)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    if kind == "classification":
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    else:
        model = on_base(base, spec_of(kind), {})
    model.save_pretrained(out)
    return out


def labeled(kind: str) -> pa.Table:
    rows = [
        {
            "item_id": str(n), "text": text, "task": "t", "confidence": 1.0, "n_annotators": 1,
            "method": "majority", "split": "test", "cluster_id": str(n),
            "question": QUESTION if kind == "question_answering" else None,
            COLUMNS.get(kind, "spans"): [vars(s) for s in target]
            if kind in SPANS else list(target) if kind == "multi_label" else target,
        }
        for n, (text, target) in enumerate(zip(TEXTS, TARGETS[kind], strict=True))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, LABELED)


@pytest.mark.parametrize("kind", list(TARGETS))
def test_every_kind_is_measured_twice_the_same(kind: str, base: Path, tmp_path: Path) -> None:
    spec, checkpoint = spec_of(kind), checkpoint_of(kind, base, tmp_path)
    found = measure(checkpoint, labeled(kind), spec)
    rows = found.table.to_pylist()
    assert [(row["attack"], row["level"]) for row in rows] == [
        ("none", 0.0), ("insertion", 0.1), ("deletion", 0.1), ("replacement", 0.1),
        ("keyboard", 0.1), (FGSM, 0.0), (FGSM, 0.1), (FGSM, 0.4),
    ]  # fmt: skip
    assert rows[0]["score"] == pytest.approx(rows[5]["score"])
    assert all(row["items"] == 10 for row in rows)
    assert found.table.equals(measure(checkpoint, labeled(kind), spec).table)
    assert picture_of(found.table, spec).startswith(b"\x89PNG")
    # Step 0 of FGSM is the model as it answers elsewhere.
    asked = [QUESTION] * len(TEXTS) if kind == "question_answering" else None
    plain = [answer.target for answer in predict(checkpoint, TEXTS, spec, asked)]
    still = fgsm_answers(checkpoint, TEXTS, TARGETS[kind], spec, [0.0], asked)[0]
    if kind == "regression":
        assert [a.target for a in still] == pytest.approx(plain, abs=1e-5)
    else:
        assert [a.target for a in still] == plain


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_scores_are_those_of_scikit_learn(kind: str, base: Path, tmp_path: Path) -> None:
    spec, checkpoint = spec_of(kind, items=len(TEXTS)), checkpoint_of(kind, base, tmp_path)
    found = measure(checkpoint, labeled(kind), spec).table.to_pylist()[0]
    said = [answer.target for answer in predict(checkpoint, TEXTS, spec)]
    expected = (
        f1_score(TARGETS[kind], said, average="macro")
        if kind == "classification"
        else r2_score(TARGETS[kind], said)
    )
    assert found["score"] == pytest.approx(expected, abs=1e-6)


def test_items_of_one_group_are_no_independent_evidence(base: Path, tmp_path: Path) -> None:
    """The interval is that of the groups; of a single one nothing is known."""
    spec, checkpoint = spec_of("regression"), checkpoint_of("regression", base, tmp_path)
    rows = labeled("regression")
    place = rows.schema.get_field_index("cluster_id")

    def of(groups: list[str]) -> dict[str, Any]:
        grouped = rows.set_column(place, rows.schema.field(place), pa.array(groups))
        found: dict[str, Any] = measure(checkpoint, grouped, spec).table.to_pylist()[1]
        return found

    alone, threes, together = (of([str(n // size) for n in range(12)]) for size in (1, 3, 12))
    assert [threes["drop"], together["drop"]] == pytest.approx([alone["drop"]] * 2)
    assert (alone["drop_low"], alone["drop_high"]) != (threes["drop_low"], threes["drop_high"])
    assert None not in (alone["low"], threes["low"])
    assert together["low"] is together["drop_high"] is None


def test_fgsm_moves_every_token_by_epsilon_of_its_length_and_raises_the_loss(
    base: Path, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of("classification", base, tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    ids, gold = torch.tensor([[2, 7, 9, 3], [2, 11, 3, 0]]), torch.tensor([0, 1])
    free = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]]).bool()
    layer, seen = model.get_input_embeddings(), []

    def forward() -> torch.Tensor:
        seen.append(layer(ids).detach())
        return model(input_ids=ids, attention_mask=(ids > 0).long()).logits

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, gold)

    still, moved = attacked(layer, ids, free, forward, loss, [0.0, 0.05])
    step, length = (seen[2] - seen[1]).norm(dim=-1), seen[1].norm(dim=-1)
    assert torch.allclose(step, 0.05 * length * free, atol=1e-5)
    assert loss(moved) > loss(still)


def table_of(noise: float, fgsm: float) -> pa.Table:
    drops = {"insertion": 0.0, "deletion": noise, "replacement": 0.01, FGSM: fgsm}
    return pa.Table.from_pylist(
        [
            {"attack": a, "level": 0.1, "metric": "f1_macro", "score": 0.5, "drop": d, "items": 9}
            for a, d in drops.items()
        ],
        ROBUSTNESS,
    )


def test_the_gates_refuse_where_the_yaml_sets_a_bar() -> None:
    noise, fgsm = gates_of(
        table_of(0.11, 0.3), spec_of("classification", max_drop=0.1, max_fgsm_drop=0.3)
    )
    assert (noise.gate, noise.passed, noise.blocking) == ("noise_drop", False, True)
    assert "0.1100 under deletion" in noise.why
    assert (fgsm.passed, fgsm.blocking, fgsm.bar) == (True, True, 0.3)


def test_without_a_bar_a_large_drop_only_warns() -> None:
    noise, fgsm = gates_of(table_of(0.21, 0.1), spec_of("classification"))
    assert (noise.passed, noise.blocking) == (False, False)
    assert fgsm.passed


def test_what_was_not_measured_passes_no_gate() -> None:
    found = gates_of(table_of(0.0, 0.0)[:2], spec_of("classification", max_drop=0.5))
    assert [gate.passed for gate in found] == [False, False]
    assert "replacement at 0.1 was not measured" in found[0].why
