"""Metrics of generated text: golden values of their papers, and Chinese that is not zero."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF
from torchmetrics.functional.text.rouge import _rouge_n_score

from vertical_assets.evaluation.generation.report import gates_of, report_of
from vertical_assets.evaluation.generation.text_metrics import (
    generation_scores,
    longest_common_subsequence,
    rouge_l,
    rouge_n,
)
from vertical_assets.evaluation.metrics import value_of
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.significance import gain_over
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import GENERATED
from vertical_assets_tests.conftest import tiny_generation


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
    for metric in ("rouge_l", "rouge_1", "rouge_2", "bleu", "chrf"):
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


WORDS = ["the", "model", "learns", "to", "answer", "a", "question", "about", "its", "text", "step"]


def some_answers(seed: int, items: int = 30) -> pa.Table:
    """Answers that lose some of the reference's words, and swap two."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(items):
        reference = [str(word) for word in generator.choice(WORDS, generator.integers(6, 12))]
        said = [word for word in reference if generator.random() < 0.8]
        said[:2] = said[:2][::-1]
        type_ = ("definition", "steps")[number % 2]
        rows.append(("test", type_, " ".join(reference), " ".join(said), 4.0 + number % 3))
    return answers(*rows)


def test_every_round_is_sacrebleus_score_of_what_was_drawn() -> None:
    table = some_answers(1)
    draws = Draws(map(str, range(30)), seed=3, rounds=6)
    found = {
        score.metric: score
        for score in generation_scores(table, "en", True, draws)
        if score.label == "all"
    }
    for number in range(7):
        drawn = table.take(np.repeat(np.arange(30), draws.weights[draws.of_item, number]))
        said, wanted = (drawn[name].to_pylist() for name in ("generated", "reference"))
        for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
            score = metric.corpus_score(said, [wanted]).score / 100
            assert found[name].rounds[number] == pytest.approx(score, abs=1e-9)
        nats, tokens = (sum(drawn[name].to_pylist()) for name in ("nats", "tokens"))
        assert found["perplexity"].rounds[number] == pytest.approx(math.exp(nats / tokens))
        means = [rouge_l(a, b, True) for a, b in zip(wanted, said, strict=True)]
        assert found["rouge_l"].rounds[number] == pytest.approx(np.mean(means))
    low, high = found["bleu"].interval
    assert low is not None
    assert high is not None
    assert low < high


@pytest.mark.parametrize(("language", "tokenizer"), [("en", "13a"), ("zh", "zh")])
def test_bleu_and_chrf_are_those_of_sacrebleus_command(
    tmp_path: Path, language: str, tokenizer: str
) -> None:
    table = some_answers(2)
    if language == "zh":
        text = "糖尿病是一种慢性病，需要长期治疗。"
        table = answers(
            ("test", "a", text, text[:-5] + "服药。", 1.0),
            ("test", "a", "每日三次", "每日二次", 1.0),
        )
    for name in ("reference", "generated"):
        (tmp_path / name).write_text("\n".join(table[name].to_pylist()) + "\n", "utf-8")
    command = f"-m sacrebleu reference -i generated -m bleu chrf -tok {tokenizer} -w 8".split()
    printed = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    theirs = {each["name"].lower(): each["score"] / 100 for each in json.loads(printed)}
    scores = generation_scores(table, language, language == "en")
    ours = {score.metric: score.value for score in scores if score.label == "all"}
    assert ours["bleu"] == pytest.approx(theirs["bleu"], abs=1e-6)
    assert ours["chrf"] == pytest.approx(theirs["chrf2"], abs=1e-6)


@given(
    first=st.lists(st.sampled_from("abc"), max_size=12),
    second=st.lists(st.sampled_from("abc"), max_size=12),
)
def test_rouge_n_is_torchmetrics(first: list[str], second: list[str]) -> None:
    for n in (1, 2):
        ours = rouge_n(" ".join(first), " ".join(second), True, n)
        assert ours == pytest.approx(float(_rouge_n_score(second, first, n)["fmeasure"]), abs=1e-6)


def test_rouge_n_of_chinese_is_by_character() -> None:
    # Of 4 and 4 characters 3 are common; of 3 and 3 pairs 2.
    assert rouge_n("每日三次", "每日三回", False, 1) == 0.75
    assert rouge_n("每日三次", "每日三回", False, 2) == pytest.approx(2 / 3)


def test_gates_of_answers_warn() -> None:
    better, worse = some_answers(1), some_answers(1)
    silent = worse.set_column(
        worse.schema.get_field_index("generated"),
        GENERATED.field("generated"),
        pa.array(["no"] * 30),
    )
    report = report_of({"finetuned": better, "nearest_prompt": silent}, "en", True, seed=1)
    for bar, good in ((0.0, True), (1.0, False)):
        spec = VerticalSpec(**tiny_generation(evaluate={"rouge_l": bar}))
        gates = {gate.gate: gate for gate in gates_of(report, spec)}
        assert gates["beats_baseline"].passed
        assert gates["rouge_l_good"].passed is good
    assert not any(gate.blocking for gate in gates.values())
    gain = gain_over(report, "nearest_prompt", "test", "rouge_l")
    assert gain.low is not None
    assert 0 < gain.low < gain.value
    assert gain.mcnemar_p is None


def test_models_are_compared_on_the_same_answers() -> None:
    table = some_answers(1)
    with pytest.raises(ValueError, match="nearest_prompt answered other items"):
        report_of({"finetuned": table, "nearest_prompt": table.slice(1)}, "en", True)
