"""Metrics of generated text: golden values of their papers, and Chinese that is not zero."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.evaluation.generation.text_metrics import (
    gain_interval,
    longest_common_subsequence,
    report_of,
    rouge_l,
)
from vertical_assets.evaluation.metrics import value_of
from vertical_assets.store.contracts import GENERATED


def lcs_by_table(first: str, second: str) -> int:
    """The textbook's dynamic programme."""
    before = [0] * (len(second) + 1)
    for one in first:
        row = [0]
        for place, other in enumerate(second):
            longest = max(before[place + 1], row[-1])
            row.append(before[place] + 1 if one == other else longest)
        before = row
    return before[-1]


@given(first=st.text("abcd", max_size=90), second=st.text("abcd", max_size=90))
def test_the_subsequence_is_the_textbooks(first: str, second: str) -> None:
    assert longest_common_subsequence(first, second) == lcs_by_table(first, second)


@pytest.mark.parametrize(
    ("generated", "score"),
    [("police kill the gunman", 0.75), ("the gunman kill police", 0.5), ("", 0.0)],
)
def test_rouge_l_of_lins_example(generated: str, score: float) -> None:
    """Lin 2004, section 3.1."""
    assert rouge_l("police killed the gunman", generated, spaced=True) == score


def test_rouge_l_of_chinese_is_by_character() -> None:
    # 8 of 9 and 8 characters are common in order.
    assert rouge_l("糖尿病是一种慢性病", "糖尿病是一种慢病。", spaced=False) == pytest.approx(
        16 / 17
    )


def answers(*rows: tuple[str, str, str, str, float]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item_id": str(number),
                "split": split,
                "label": label,
                "prompt": "?",
                "reference": reference,
                "generated": generated,
                "nats": nats,
                "tokens": 4,
            }
            for number, (split, label, reference, generated, nats) in enumerate(rows)
        ],
        GENERATED,
    )


def test_the_report_has_every_metric_by_model_split_and_type() -> None:
    whole = "Return the largest of several values."
    ours = answers(
        ("test", "definition", whole, whole, 4.0),
        ("test", "steps", "import it first", "never import anything", 12.0),
        ("validation", "steps", whole, whole, 4.0),
    )
    nearest = ours.set_column(7, GENERATED.field("nats"), pa.nulls(3, pa.float64())).set_column(
        8, GENERATED.field("tokens"), pa.nulls(3, pa.int64())
    )
    report = report_of({"finetuned": ours, "nearest_prompt": nearest}, "en", spaced=True)
    rows = {
        (row["model"], row["split"], row["label"], row["metric"]): row["value"]
        for row in report.to_pylist()
    }
    for metric in ("rouge_l", "bleu", "chrf"):
        assert rows[("finetuned", "test", "definition", metric)] == pytest.approx(1.0)
        assert rows[("finetuned", "test", "steps", metric)] < 0.5
        assert rows[("nearest_prompt", "test", "steps", metric)] < 0.5
    assert rows[("finetuned", "test", "all", "rouge_l")] == pytest.approx((1 + 2 / 6) / 2)
    assert value_of(report, "finetuned", "test", "perplexity") == pytest.approx(math.exp(2.0))
    assert ("nearest_prompt", "test", "all", "perplexity") not in rows


def test_bleu_knows_chinese_characters() -> None:
    """Without sacrebleu's tokenizer a Chinese sentence is one word."""
    text = "糖尿病是一种慢性病需要长期治疗"
    table = answers(("test", "steps", text, text[:-2], 1.0))
    chinese, other = (report_of({"finetuned": table}, lang, spaced=False) for lang in ("zh", "en"))
    assert value_of(chinese, "finetuned", "test", "bleu") > 0.8
    assert value_of(other, "finetuned", "test", "bleu") < 0.1


def test_the_interval_of_a_gain_is_paired() -> None:
    """Two models that differ by the same on every item differ for sure, however items vary."""
    theirs = [n / 100 for n in range(100)]
    ours = [value + 0.05 for value in theirs]
    assert gain_interval(ours, theirs, 1) == pytest.approx((0.05, 0.05, 0.05))
    mean, low, high = gain_interval(theirs[::-1], theirs, 1)
    assert low < mean < high
    assert mean == pytest.approx(0.0)
