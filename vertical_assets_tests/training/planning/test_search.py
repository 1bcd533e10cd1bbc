"""Hyper-parameter search: seeded, within its ranges, pruned; it proposes and changes nothing."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from pydantic import ValidationError

from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.planning.search import (
    Trial,
    best,
    drawn,
    sample,
    search,
    with_parameters,
    yaml_of,
)
from vertical_assets_tests.conftest import reviews, tiny

PARAMETERS = {"finetune.learning_rate": [1e-6, 1e-2, "log"], "finetune.freeze_layers": [0, 2]}


def spec_of(**changes: Any) -> VerticalSpec:
    task = {name: changes.pop(name) for name in ("task", "annotation") if name in changes}
    settings = {"trials": 8, "parameters": PARAMETERS, "sample": 0.5, **changes}
    return VerticalSpec(
        **tiny(
            model={**tiny()["model"], "hidden_size": 32, "max_tokens": 24},
            finetune={"epochs": 2, "batch_tokens": 256},
            search=settings,
            **task,
        )
    )


@pytest.fixture(scope="module")
def items() -> Items:
    rows = reviews(80)
    return Items(*([row[key] for row in rows] for key in ("text", "sentiment", "id")))


@pytest.fixture(scope="module")
def base(items: Items, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_base(spec_of(), items.texts, tmp_path_factory.mktemp("base")).path


def test_a_search_is_the_same_twice_and_stays_within_its_ranges(
    base: Path, items: Items, tmp_path: Path
) -> None:
    spec = spec_of()
    trials = search(base, items, items, spec, tmp_path)
    assert [trial.number for trial in trials] == list(range(8))
    for trial in trials:
        assert 1e-6 <= trial.parameters["finetune.learning_rate"] <= 1e-2
        assert trial.parameters["finetune.freeze_layers"] in (0, 1, 2)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    shorter = search(base, items, items, spec_of(trials=2), tmp_path)
    assert shorter == trials[:2]
    found = best(trials)
    assert found.value == max(trial.value for trial in trials if trial.state == "complete")
    assert {trial.metric for trial in trials} == {"val_f1_macro"}


def test_what_counts_is_tried_in_whole_numbers() -> None:
    ranges = {"finetune.per_group": [1, 50], "finetune.dropout": [0, 0.5]}  # both null by default
    spec = spec_of(parameters=ranges)
    assert spec.search is not None
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(5):
        tried = with_parameters(spec, drawn(study.ask(), spec.search)).finetune
        assert isinstance(tried.per_group, int)
        assert isinstance(tried.dropout, float)


def test_the_proposal_is_yaml_that_the_vertical_takes() -> None:
    parameters = {"finetune.learning_rate": 0.0003, "finetune.freeze_layers": 1}
    proposed = yaml.safe_load(yaml_of(Trial(0, "complete", "val_f1_macro", "max", 0.9, parameters)))
    spec = with_parameters(spec_of(), parameters)
    assert spec.finetune.learning_rate == proposed["finetune"]["learning_rate"] == 0.0003
    assert spec.finetune.freeze_layers == proposed["finetune"]["freeze_layers"] == 1


def test_modules_of_any_kind_are_searched(base: Path, items: Items, tmp_path: Path) -> None:
    """Here numbers, by a module of their own: the mean error is the less the better."""
    parameters = {"finetune.learning_rate": [1e-4, 1e-2, "log"]}
    spec = spec_of(
        trials=2,
        parameters=parameters,
        task={"name": "length", "kind": "regression"},
        annotation={"path": "labels.jsonl"},
    )
    lengths = Items(items.texts, [float(len(each)) for each in items.texts], items.groups)
    trials = search(base, lengths, lengths, spec, tmp_path)
    assert {(trial.metric, trial.mode) for trial in trials} == {("val_mae", "min")}
    assert best(trials).value == min(trial.value for trial in trials)


def test_an_error_is_best_where_it_is_least() -> None:
    trials = [Trial(n, "complete", "val_mae", "min", value, {}) for n, value in enumerate((9, 2))]
    trials.append(Trial(2, "pruned", "val_mae", "min", 0.1, {}))
    assert best(trials).number == 1
    with pytest.raises(ValueError, match="no trial was complete"):
        best(trials[2:])


def test_a_sample_keeps_the_classes_shares(items: Items) -> None:
    half = sample(items, 0.5, 1)
    assert half == sample(items, 0.5, 1)
    assert half != sample(items, 0.5, 2)
    assert half.labels.count("positive") == round(0.5 * items.labels.count("positive"))
    assert set(half.texts) <= set(items.texts)
    numbers = Items(items.texts, [float(n) for n in range(len(items.texts))], items.groups)
    assert len(sample(numbers, 0.5, 1).texts) == len(items.texts) // 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"parameters": {}}, "names nothing"),
        ({"parameters": {"pretrain.epochs": [1, 2]}}, "is not searched"),
        ({"parameters": {"finetune.learnig_rate": [1e-5, 1e-3]}}, "no key 'learnig_rate'"),
        ({"parameters": {"finetune.learning_rate": [1e-5, 5.0]}}, "less than or equal to 0.01"),
        ({"parameters": {"finetune.epochs": [3, 1]}}, "swap them"),
        ({"parameters": {"finetune.epochs": {"low": 1}}}, "or 'choices'; keep one"),
        ({"parameters": {"finetune.epochs": [1, 3, "lgo"]}}, r"or \[low, high, log\]"),
        ({"parameters": {"finetune.epochs": [1, 2, 3, 4]}}, r"or \[low, high, log\]"),
    ],
)
def test_mistakes_are_named_with_their_remedy(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec_of(**settings)
