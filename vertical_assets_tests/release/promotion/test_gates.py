"""Gates that are read again, each on what is stored."""

import pytest

from vertical_assets.release.promotion.gates import (
    in_step,
    leakage_gate,
    recorded_verdicts,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.release.promotion.test_frozen import item, labeled

SPEC = VerticalSpec(**tiny())


@pytest.mark.parametrize(
    ("leaking", "found"),
    [
        (item("a", "test", "nothing in common with the others at all"), 0),
        (item("a", "test", "the very same text as a training item"), 3),  # seen; exact; near
        (item("a", "test", "another text of the same family", group="t"), 2),
    ],
)
def test_no_test_item_was_trained_on(leaking: dict[str, object], found: int) -> None:
    train = item("t", "train", "The very same text as a training item")
    gate = leakage_gate(labeled(train, leaking), SPEC)
    assert gate.value == found
    assert gate.passed == (found == 0)
    assert gate.blocking


def test_a_report_of_another_model_judges_nothing() -> None:
    versions = {"finetuned_ckpt": "2", "slices": "s", "predictions": "p"}
    made_from = {
        "predictions": {"finetuned_ckpt": "2", "labeled_set": "7"},
        "slices": {"finetuned_ckpt": "1", "predictions": "p"},
    }
    gate = in_step(made_from, versions)
    assert not gate.passed
    assert gate.why == "slices is of another finetuned_ckpt: build again"
    assert in_step({"predictions": made_from["predictions"]}, versions).passed
    assert "nothing says what slices was made from" in in_step({"slices": None}, versions).why


def test_a_recorded_failure_blocks() -> None:
    (verdict,) = recorded_verdicts([("labeled_set", "items_conserved", "1 is lost")])
    assert verdict.subject == "labeled_set"
    assert verdict.gate.blocking
    assert not verdict.gate.passed
    assert verdict.gate.why == "on record: 1 is lost"
