"""Champion, challenger, pending, refused: the decision, case by case."""

import math
from typing import Any

import pytest

from vertical_assets.evaluation.significance import Gain
from vertical_assets.release.promotion.approvals import Approval
from vertical_assets.release.promotion.comparison import Comparison
from vertical_assets.release.promotion.decision import (
    APPROVAL,
    WITHDRAWN,
    WORSE,
    Candidate,
    Decision,
    decide,
    figures_of,
)
from vertical_assets.release.promotion.gates import Verdict, as_set
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import EVALUATION, RELEASE_DECISION
from vertical_assets.store.gates import Gate
from vertical_assets_tests.conftest import tiny

OURS, THEIRS = "a" * 32, "b" * 32
SOUND = Verdict("eval_report", Gate("beats_baseline", True, True, 0.9, 0.8, "above it"))
BROKEN = Verdict("slices", Gate("worst_slice", False, True, 0.5, 0.25, "length is 0.5 worse"))


def compared(ours: float, theirs: float, p: float | None = 0.001) -> Comparison:
    gain = Gain(ours - theirs, ours - theirs - 0.01, ours - theirs + 0.01, p, None)
    return Comparison(EVALUATION.empty_table(), 500, 0, "f1_macro", ours, theirs, gain)


def decided(
    comparison: Comparison | None = None, *verdicts: Verdict, promote: Any = None, **known: Any
) -> Decision:
    spec = VerticalSpec(**tiny(promote=promote or {}))
    known.setdefault("champion", THEIRS if comparison else None)
    return decide(Candidate(OURS, **known), [SOUND, *verdicts], comparison, spec)


def test_a_first_release_that_passes_its_gates_is_the_champion() -> None:
    assert decided().outcome == "champion"
    assert decided(None, BROKEN).outcome == "refused"


@pytest.mark.parametrize(
    ("ours", "p", "outcome"),
    [
        (0.828, 0.001, "champion"),  # 3.5 % of 0.80
        (0.824, 0.001, "challenger"),  # exactly 3 %: more is asked for (SPEC O3)
        (0.90, 0.2, "challenger"),  # much better, but it may be chance
        (0.90, None, "challenger"),  # one group of items: chance is unknown
        (0.79, 0.3, "challenger"),  # below it, but it may be chance
        (0.70, 0.001, "refused"),  # surely worse
        (math.nan, None, "challenger"),
    ],
)
def test_against_a_champion(ours: float, p: float | None, outcome: str) -> None:
    assert decided(compared(ours, 0.80, p)).outcome == outcome


def test_the_bars_are_settings() -> None:
    slightly = compared(0.81, 0.80, 0.2)
    assert decided(slightly, promote={"min_gain": 0.01}).outcome == "challenger"
    loose = {"min_gain": 0.01, "significance": 1.0}
    assert decided(slightly, promote=loose).outcome == "champion"
    # Asking for no significance of a gain makes no chance difference a loss.
    assert decided(compared(0.7999, 0.80, 0.9), promote=loose).outcome == "challenger"
    assert decided(compared(0.70, 0.80, 0.001), promote=loose).outcome == "refused"


def test_the_reason_names_figures_and_the_champion() -> None:
    comparison = compared(0.9, 0.8)
    reason = decided(comparison).reason
    assert "f1_macro 0.9000 against 0.8000 of champion bbbbbbbb on 500 test items" in reason
    assert "+12.50% of it" in reason
    figures = figures_of(decided(comparison), comparison)
    assert figures["relative_gain"] == pytest.approx(0.125)
    assert figures["relative_gain_low"] == pytest.approx(0.09 / 0.8)
    assert figures["verdict"] == "champion"


def test_no_gain_opens_a_gate_that_failed() -> None:
    decision = decided(compared(0.9, 0.8), BROKEN)
    assert (decision.outcome, decision.proposed) == ("refused", "refused")
    assert decision.failed == [BROKEN]
    first = decision.table().cast(RELEASE_DECISION).to_pylist()[0]
    assert (first["subject"], first["gate"], first["passed"]) == ("slices", "worst_slice", False)
    assert "length is 0.5 worse" in decision.reason


def test_a_gate_that_warns_can_be_demanded_and_a_blocking_one_waived() -> None:
    spec = VerticalSpec(**tiny(promote={"gates": ["noise_drop"], "waived": ["beats_baseline"]}))
    noise = as_set(Gate("noise_drop", False, False, 0.3, 0.2, "falls"), spec)
    baseline = as_set(Gate("beats_baseline", False, True, 0.7, 0.8, "below"), spec)
    leaked = as_set(Gate("no_leakage", False, True, 3, 0, "leaks"), spec)
    assert [gate.blocking for gate in (noise, baseline, leaked)] == [True, False, True]
    assert baseline.why == "below; waived by promote.waived"
    with pytest.raises(ValueError, match="waived"):
        VerticalSpec(**tiny(promote={"waived": ["f1_drop"]}))


def said(approved: bool) -> Approval:
    return Approval(OURS, approved, "Ada", "read the card", "2024-05-01T10:00:00+00:00")


def test_a_release_waits_for_a_person_where_one_is_asked_for() -> None:
    asked = {"approval": "required"}
    waiting = decided(promote=asked)
    assert (waiting.outcome, waiting.proposed) == ("pending", "champion")
    assert decided(compared(0.8, 0.8), promote=asked).proposed == "challenger"
    approved = decided(promote=asked, approval=said(True))
    assert approved.outcome == "champion"
    assert "approved by Ada at 2024-05-01T10:00:00+00:00: read the card" in approved.reason
    refused = decided(promote=asked, approval=said(False))
    assert refused.outcome == "refused"
    assert refused.failed[0].gate.gate == APPROVAL


def test_an_approval_opens_no_gate() -> None:
    decision = decided(None, BROKEN, promote={"approval": "required"}, approval=said(True))
    assert decision.outcome == "refused"


def test_what_was_rolled_back_from_is_not_promoted_again() -> None:
    decision = decided(compared(0.9, 0.8), withdrawn=True)
    assert decision.outcome == "refused"
    assert decision.failed[0].gate.gate == WITHDRAWN


def test_the_champion_judged_again_stays_unless_a_gate_fails() -> None:
    again = decided(compared(0.7, 0.8), reigning=True)
    assert again.outcome == "champion"
    assert [each.gate.blocking for each in again.verdicts if each.gate.gate == WORSE] == [False]
    assert decided(None, BROKEN, reigning=True).outcome == "refused"
    assert decided(reigning=True, promote={"approval": "required"}).outcome == "champion"


def test_without_a_comparison_a_sound_model_is_a_challenger() -> None:
    decision = decided(champion=THEIRS, incomparable="not compared: other labels")
    assert decision.outcome == "challenger"
    assert decision.reason.startswith("not compared: other labels; vertical-assets rollback tiny")
