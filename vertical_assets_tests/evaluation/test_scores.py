"""Scores by kind of task: values by hand, published definitions and other libraries."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import precision_recall_fscore_support
from sklearn.metrics import r2_score as sklearn_r2
from torchmetrics.functional import (
    mean_absolute_error,
    pearson_corrcoef,
    r2_score,
    spearman_corrcoef,
)
from torchmetrics.functional.classification import (
    multilabel_exact_match,
    multilabel_f1_score,
    multilabel_hamming_distance,
)
from torchmetrics.functional.text import squad

from benchmarks.bc5cdr import sentences, text_and_spans
from vertical_assets.evaluation.metrics import report_of, value_of
from vertical_assets.evaluation.pages import pictures_of, worst_errors
from vertical_assets.evaluation.regression import number_scores
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.scores import (
    Score,
    answer_scores,
    answer_tokens,
    multi_label_scores,
    span_scores,
    token_f1,
)
from vertical_assets.evaluation.significance import gain_over
from vertical_assets.labels.targets import COLUMN, Span, Target, to_cell
from vertical_assets.spec import TaskKind
from vertical_assets.store.contracts import LABELED
from vertical_assets.training.baselines.names import BASELINES
from vertical_assets.training.predictions import predictions_of
from vertical_assets_tests.conftest import shared_data

LABELS = ("x", "y", "z")


def values(scores: list[Score], label: str = "all") -> dict[str, float]:
    return {score.metric: score.value for score in scores if score.label == label}


sets = st.lists(
    st.tuples(*[st.sets(st.sampled_from(LABELS)).map(lambda s: tuple(sorted(s)))] * 2), min_size=1
)


@settings(max_examples=30)
@given(sets)
def test_multi_label_scores_agree_with_torchmetrics(
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]],
) -> None:
    sides = ([a for a, _ in pairs], [b for _, b in pairs])
    gold, said = (
        torch.tensor([[int(label in each) for label in LABELS] for each in side]) for side in sides
    )
    found = values(multi_label_scores(*sides, LABELS))
    micro = multilabel_f1_score(said, gold, num_labels=3, average="micro")
    assert found["f1_micro"] == pytest.approx(float(micro), abs=1e-6)
    exact = multilabel_exact_match(said, gold, num_labels=3)
    assert found["subset_accuracy"] == pytest.approx(float(exact), abs=1e-6)
    hamming = multilabel_hamming_distance(said, gold, num_labels=3)
    assert found["hamming_loss"] == pytest.approx(float(hamming), abs=1e-6)
    present = np.flatnonzero((said | gold).numpy().any(axis=0))
    for average in ("micro", "macro") if len(present) else ():
        expected = precision_recall_fscore_support(
            gold, said, average=average, labels=present, zero_division=0.0
        )
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert found[f"{name}_{average}"] == pytest.approx(value, abs=1e-9)


def test_a_label_that_never_occurs_has_no_f1() -> None:
    scores = multi_label_scores([("x",), ("x", "y")], [("x",), ("x",)], LABELS)
    assert {score.label for score in scores} == {"all", "x", "y"}
    assert values(scores)["f1_macro"] == pytest.approx((1 + 0) / 2)


def corrupted(rng: np.random.Generator, tags: list[str]) -> list[str]:
    """Tags as a model might have them: some spans lost, renamed, cut short or made up."""
    out = list(tags)
    for place, tag in enumerate(tags):
        following = tags[place + 1] if place + 1 < len(tags) else "O"
        if tag == "O" and rng.random() < 0.03 and not following.startswith("I-"):
            out[place] = "B-Disease"
        elif tag.startswith("B-") and rng.random() < 0.3 and not following.startswith("I-"):
            out[place] = str(rng.choice(["O", "B-Chemical", "B-Disease"]))
        elif tag.startswith("I-") and not following.startswith("I-") and rng.random() < 0.3:
            out[place] = "O"
    return out


def test_span_scores_agree_with_nervaluate_and_conll_on_bc5cdr() -> None:
    """nervaluate reads the tags of tokens, our spans are of characters."""
    shared_data("bioner_en")
    rng = np.random.default_rng(7)
    types = ["Chemical", "Disease"]
    gold_tags, said_tags = list[list[str]](), list[list[str]]()
    gold, said = list[list[Span]](), list[list[Span]]()
    for sentence in sentences("test", 400):
        tags = [tag for _, tag in sentence]
        wrong = corrupted(rng, tags)
        for all_tags, all_spans, these in ((gold_tags, gold, tags), (said_tags, said, wrong)):
            all_tags.append(these)
            tokens = [(token, tag) for (token, _), tag in zip(sentence, these, strict=True)]
            spans = text_and_spans(tokens)[1]
            all_spans.append([Span(s["start"], s["end"], s["label"]) for s in spans])
    scores = span_scores(gold, said, types)
    other = Evaluator(gold_tags, said_tags, tags=types, loader="list").evaluate()
    strict = other["overall"]["strict"]
    ours = values(scores)
    assert 0.5 < ours["f1_micro"] < 0.95
    assert ours["precision_micro"] == pytest.approx(strict.precision)
    assert ours["recall_micro"] == pytest.approx(strict.recall)
    assert ours["f1_micro"] == pytest.approx(strict.f1)
    for type_ in types:
        by_type = other["entities"][type_]["strict"]
        assert values(scores, type_)["f1"] == pytest.approx(by_type.f1)
        assert values(scores, type_)["recall"] == pytest.approx(by_type.recall)
    # conlleval's own counts: chunks of tokens that begin, end and are named alike.
    chunks = [[{*_chunks(tags)} for tags in side] for side in (gold_tags, said_tags)]
    right = sum(len(a & b) for a, b in zip(*chunks, strict=True))
    guessed, correct = (sum(map(len, side)) for side in reversed(chunks))
    assert ours["precision_micro"] == pytest.approx(right / guessed)
    assert ours["recall_micro"] == pytest.approx(right / correct)


def _chunks(tags: list[str]) -> list[tuple[int, int, str]]:
    """(first token, last token, type) of IOB2 tags."""
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            found.append((place, place, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], place, tag[2:])
    return found


def test_macro_f1_of_spans_is_over_types_that_occur() -> None:
    a, b = Span(0, 2, "x"), Span(3, 5, "y")
    found = values(span_scores([[a, b]], [[a, Span(3, 6, "y")]], LABELS))
    assert (found["f1_micro"], found["f1_macro"]) == (0.5, 0.5)
    assert found["precision_macro"] == 0.5
    nothing = values(span_scores([[]], [[]], LABELS))
    assert nothing["f1_micro"] == 0.0


QUESTIONS = [
    ("in the 1990s", ["the 1990s", "in 1990s"]),
    ("The Eiffel Tower!", ["Eiffel tower"]),
    ("a b c d", ["b c"]),
    ("nonsense", ["the answer"]),
]


def test_answers_are_compared_as_squad_does() -> None:
    """torchmetrics carries the official script."""
    found = values(
        answer_scores(
            [gold for _, gold in QUESTIONS], [[said] for said, _ in QUESTIONS], [None] * 4
        )
    )
    expected = squad(
        [{"prediction_text": said, "id": str(n)} for n, (said, _) in enumerate(QUESTIONS)],
        [
            {"answers": {"text": gold, "answer_start": [0] * len(gold)}, "id": str(n)}
            for n, (_, gold) in enumerate(QUESTIONS)
        ],
    )
    assert found["exact_match"] == pytest.approx(float(expected["exact_match"]) / 100)
    assert found["f1"] == pytest.approx(float(expected["f1"]) / 100)


def test_questions_without_an_answer_are_right_when_left_unanswered() -> None:
    scores = answer_scores([[], [], ["yes"]], [[], ["no"], []], [None] * 3)
    assert values(scores) == {"exact_match": pytest.approx(1 / 3), "f1": pytest.approx(1 / 3)}


def test_chinese_answers_are_compared_by_character() -> None:
    assert answer_tokens("每天3次，AI。") == ["每", "天", "3", "次", "ai"]
    # Three of four characters on either side are common.
    assert token_f1(answer_tokens("每日三次"), answer_tokens("每天三次")) == 0.75


def test_answers_are_scored_by_type_of_question() -> None:
    scores = answer_scores([["a b"], ["c"]], [["a b"], ["d"]], ["steps", "definition"])
    assert values(scores, "steps")["f1"] == 1.0
    assert values(scores, "definition")["exact_match"] == 0.0


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(-5, 5, width=16), st.floats(-5, 5, width=16)), min_size=3, max_size=20
    ).filter(lambda pairs: all(np.ptp(side) > 0.1 for side in zip(*pairs, strict=True)))
)
def test_number_scores_agree_with_torchmetrics(pairs: list[tuple[float, float]]) -> None:
    gold, said = zip(*pairs, strict=True)
    found = values(number_scores(gold, said))
    a, b = (torch.tensor(side, dtype=torch.float64) for side in (said, gold))
    assert found["mae"] == pytest.approx(float(mean_absolute_error(a, b)), abs=1e-6)
    assert found["rmse"] == pytest.approx(float(((a - b) ** 2).mean().sqrt()), abs=1e-6)
    assert found["r2"] == pytest.approx(float(r2_score(a, b)), abs=1e-4, rel=1e-4)
    assert found["pearson"] == pytest.approx(float(pearson_corrcoef(a, b)), abs=1e-4)
    assert found["spearman"] == pytest.approx(float(spearman_corrcoef(a, b)), abs=1e-4)


def test_every_round_of_numbers_is_the_score_of_what_was_drawn() -> None:
    """An item that was drawn twice stands there twice; many are tied."""
    generator = np.random.default_rng(1)
    gold = generator.integers(1, 6, 60).astype(float)
    said = np.round(gold + generator.normal(size=60), 1)
    draws = Draws(map(str, range(60)), seed=4, rounds=15)
    found = {score.metric: score.rounds for score in number_scores(gold, said, draws)}
    for number in range(16):
        times = draws.weights[draws.of_item, number]
        a, b = np.repeat(gold, times), np.repeat(said, times)
        assert found["mae"][number] == pytest.approx(np.abs(a - b).mean())
        assert found["rmse"][number] == pytest.approx(((a - b) ** 2).mean() ** 0.5)
        assert found["r2"][number] == pytest.approx(sklearn_r2(a, b))
        assert found["pearson"][number] == pytest.approx(pearsonr(a, b).statistic)
        assert found["spearman"][number] == pytest.approx(spearmanr(a, b).statistic)


def test_every_round_of_spans_is_the_score_of_what_was_drawn() -> None:
    one, other = Span(0, 2, "x"), Span(3, 5, "y")
    gold = [[one], [one, other], [], [other]] * 5
    said = [[one], [one], [other], [Span(3, 6, "y")]] * 5
    draws = Draws(map(str, range(20)), seed=4, rounds=8)
    found = {(s.label, s.metric): s.rounds for s in span_scores(gold, said, LABELS, draws)}
    for number in range(9):
        chosen = np.repeat(np.arange(20), draws.weights[draws.of_item, number])
        drawn = span_scores([gold[n] for n in chosen], [said[n] for n in chosen], LABELS)
        for score in drawn:
            assert found[score.label, score.metric][number] == pytest.approx(score.value)


def test_what_is_undefined_is_left_out() -> None:
    constant = values(number_scores([1, 2, 3], [2, 2, 2]))
    assert set(constant) == {"mae", "rmse", "r2"}
    assert constant["r2"] == 0.0
    assert set(values(number_scores([2, 2], [1, 3]))) == {"mae", "rmse"}


def items(kind: TaskKind, targets: list[Target], **columns: list[str]) -> pa.Table:
    rows = [
        {
            "item_id": str(n),
            "text": "aspirin for pain",
            "task": "t",
            COLUMN[kind]: to_cell(target, kind),
            "confidence": 1.0,
            "n_annotators": 3,
            "method": "majority",
            "split": "test",
            "cluster_id": str(n),
            **{name: each[n] for name, each in columns.items()},
        }
        for n, target in enumerate(targets)
    ]
    return pa.Table.from_pylist(rows, LABELED)


DRUG, PAIN = Span(0, 7, "x"), Span(12, 16, "y")
REPORTS: list[tuple[TaskKind, list[Target], list[Target], str, str]] = [
    ("multi_label", [("x",), ("x", "y")], [("x",), ("x",)], "f1_macro", "majority"),
    ("entities", [(DRUG, PAIN), (DRUG,)], [(DRUG,), (DRUG,)], "f1_micro", ""),
    ("question_answering", [(DRUG,), ()], [(PAIN,), ()], "f1", ""),
    ("regression", [1.0, 3.0], [1.0, 2.0], "mae", "mean"),
]


@pytest.mark.parametrize(("kind", "gold", "worse", "metric", "trivial"), REPORTS)
def test_the_report_of_every_kind_compares_model_and_baseline(
    kind: TaskKind, gold: list[Target], worse: list[Target], metric: str, trivial: str
) -> None:
    asked = {"question": ["What?", "Who?"]} if kind == "question_answering" else {}
    held = items(kind, gold, **asked)
    ours = predictions_of(held, kind, gold, [0.9, 0.8])
    baseline = predictions_of(held, kind, worse, [None, None])
    texts = {"0": "aspirin for pain", "1": "aspirin for pain"}
    report = report_of(ours, baseline, gold, LABELS, kind, texts)
    best = 0.0 if kind == "regression" else 1.0
    assert value_of(report, "finetuned", "test", metric) == best
    models = set(report["model"].to_pylist())
    assert ({trivial} if trivial else set()) <= models
    assert len(models) == (3 if trivial else 2)
    # Whichever way the metric is better.
    assert gain_over(report, BASELINES[kind], "test", metric).value > 0
    assert worst_errors(ours, texts, kind, 5) == []
    wrong = worst_errors(baseline, texts, kind, 5)
    assert len(wrong) == 1
    pictures = pictures_of(baseline, report, "test", LABELS, kind)
    assert pictures.keys() <= {"bars", "by_label", "scatter"}


def test_errors_are_shown_in_words() -> None:
    held = items("entities", [(DRUG, PAIN)])
    table = predictions_of(held, "entities", [(DRUG,)], [0.7])
    (error,) = worst_errors(table, {"0": "aspirin for pain"}, "entities", 5)
    assert error["gold"] == "aspirin (x); pain (y)"
    assert error["predicted"] == "aspirin (x)"
