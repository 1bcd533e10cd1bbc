"""Validation scores: strict spans as nervaluate counts them; a constant answer is the bar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.inference.answers import Answer
from vertical_assets.labels.targets import Span
from vertical_assets.training.modules.scores import against_constant, answer_f1, scores

SPAN = st.builds(
    lambda start, size, label: Span(start, start + size, label),
    st.integers(0, 12),
    st.integers(1, 4),
    st.sampled_from("ab"),
)


@given(st.lists(st.tuples(st.sets(SPAN, max_size=4), st.sets(SPAN, max_size=4)), min_size=1))
def test_span_f1_is_the_harmonic_mean(pairs: list[tuple[set[Span], set[Span]]]) -> None:
    gold = [tuple(sorted(g)) for g, _ in pairs]
    found = scores("entities", gold, [Answer(tuple(sorted(s)), 1.0) for _, s in pairs], "ab")
    precision, recall = found["val_span_precision"], found["val_span_recall"]
    if precision + recall:
        harmonic = 2 * precision * recall / (precision + recall)
        assert found["val_span_f1"] == pytest.approx(harmonic)
    else:
        assert found["val_span_f1"] == 0.0


def test_a_span_counts_only_with_both_borders_and_the_label() -> None:
    gold = [(Span(0, 4, "a"), Span(6, 8, "b"))]
    said = [Answer((Span(0, 4, "a"), Span(6, 9, "b"), Span(6, 8, "a")), 1.0)]
    found = scores("entities", gold, said, "ab")
    assert found["val_span_precision"] == pytest.approx(1 / 3)
    assert found["val_span_recall"] == pytest.approx(1 / 2)


def test_answers_overlap_in_characters() -> None:
    gold = (Span(10, 20, "answer"), Span(40, 44, "answer"))
    assert answer_f1(gold, (Span(10, 20, "answer"),)) == 1.0
    assert answer_f1(gold, (Span(15, 25, "answer"),)) == pytest.approx(0.5)
    assert answer_f1(gold, ()) == 0.0
    assert answer_f1((), ()) == 1.0


def test_macro_f1_leaves_out_labels_that_never_occur() -> None:
    gold = [("a", "b"), ("a",)]
    said = [Answer(("a",), 0.9), Answer(("a",), 0.9)]
    assert scores("multi_label", gold, said, "abc")["val_f1_macro"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("kind", "gold", "metrics", "bar", "passes"),
    [
        ("classification", ["a", "a", "b"], {"val_accuracy": 0.7}, 2 / 3, True),
        ("multi_label", [("a",), ("a", "b")], {"val_f1_macro": 0.8}, (1 + 2 / 3) / 2, False),
        ("entities", [(Span(0, 1, "a"),)], {"val_span_f1": 0.1}, 0.0, True),
        ("question_answering", [(), (Span(0, 1, "a"),)], {"val_answer_f1": 0.5}, 0.5, False),
        ("regression", [1.0, 2.0, 6.0], {"val_mae": 1.0}, 5 / 3, True),
    ],
)
def test_a_model_must_beat_one_answer_to_everything(
    kind: str, gold: list[object], metrics: dict[str, float], bar: float, passes: bool
) -> None:
    compared = against_constant(kind, gold, "ab", metrics)
    assert compared.constant == pytest.approx(bar)
    assert compared.passed is passes
