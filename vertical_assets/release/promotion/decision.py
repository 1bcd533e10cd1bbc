"""The decision: champion, challenger, pending or refused, and why (SPEC O3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from vertical_assets.evaluation.significance import Gain
from vertical_assets.release.promotion.approvals import Approval
from vertical_assets.release.promotion.comparison import Comparison
from vertical_assets.release.promotion.gates import Verdict
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.release import Promote
from vertical_assets.store.contracts import RELEASE_DECISION
from vertical_assets.store.gates import Gate

Outcome = Literal["champion", "challenger", "pending", "refused"]
CHAMPION, CHALLENGER, PENDING, REFUSED = "champion", "challenger", "pending", "refused"
SIGNIFICANT = 0.05  # largest p by which a model is worse, however little a gain has to prove
BETTER, WORSE, APPROVAL, WITHDRAWN = "better", "not_worse", "approval", "not_withdrawn"


@dataclass(frozen=True)
class Candidate:
    """What the decision has to know beside the gates.

    Attributes:
        release: digest of the artifact.
        champion: digest that it is compared with; None for the first release.
        reigning: it is the champion already.
        withdrawn: it was rolled back from.
        approval: what a person said of this very digest.
        incomparable: why there is no comparison, though there is a champion.
    """

    release: str
    champion: str | None = None
    reigning: bool = False
    withdrawn: bool = False
    approval: Approval | None = None
    incomparable: str | None = None


@dataclass(frozen=True)
class Decision:
    """What becomes of a candidate.

    Attributes:
        release: its digest.
        outcome: champion: it answers; challenger: sound, but not better enough; pending: it waits
            for a person; refused.
        proposed: what it is, or would be with an approval.
        reason: in words, for the history.
        verdicts: everything that was judged.
    """

    release: str
    outcome: Outcome
    proposed: Outcome
    reason: str
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> list[Verdict]:
        """What it is refused for."""
        return [each for each in self.verdicts if each.gate.blocking and not each.gate.passed]

    def table(self) -> pa.Table:
        """RELEASE_DECISION; what failed comes first."""
        ordered = sorted(self.verdicts, key=lambda v: (v.gate.passed, not v.gate.blocking))
        rows = [
            {
                "release": self.release,
                "outcome": self.outcome,
                "subject": each.subject,
                "gate": each.gate.gate,
                "passed": each.gate.passed,
                "blocking": each.gate.blocking,
                "value": each.gate.value,
                "bar": each.gate.bar,
                "why": each.gate.why,
            }
            for each in ordered
        ]
        return pa.Table.from_pylist(rows, RELEASE_DECISION)


def decide(
    candidate: Candidate,
    verdicts: Sequence[Verdict],
    comparison: Comparison | None,
    spec: VerticalSpec,
) -> Decision:
    """What becomes of a candidate.

    A blocking gate that fails refuses it, and so does being significantly worse. Without a champion
    it becomes the champion; else only where it is better by more than `promote.min_gain` of the
    champion's value and the gain is significant, and a challenger otherwise. With
    `promote.approval: required` it waits for a person either way, because a challenger answers
    requests too. The present champion judged once more stays what it is: only a person takes it
    out, by a rollback.

    Args:
        candidate: who it is, and what is known of it.
        verdicts: of all gates.
        comparison: with the champion; with the baselines alone without one, or where
            `candidate.incomparable`; None where the artifact could not be asked.
        spec: section `promote`.
    """
    judged = list(verdicts)
    if candidate.withdrawn:
        why = (
            "it was rolled back from; only a person brings it back, by "
            f"vertical-assets rollback {spec.name} --to {candidate.release[:8]}"
        )
        judged.append(Verdict("release", Gate(WITHDRAWN, False, True, None, None, why)))
    better = better_gate(candidate, comparison, spec)
    judged.append(Verdict(CHAMPION, better))
    if comparison is not None and comparison.gain is not None:
        worse = worse_gate(comparison, spec.promote)
        blocking = worse.passed or not candidate.reigning
        judged.append(Verdict(CHAMPION, replace(worse, blocking=blocking)))
    proposed: Outcome = "champion" if better.passed or candidate.reigning else "challenger"
    outcome = proposed
    if spec.promote.approval == "required":
        asked = approval_gate(candidate, spec)
        judged.append(Verdict("a person", asked))
        if candidate.approval is None and not candidate.reigning:
            outcome = "pending"
    failed = [each for each in judged if each.gate.blocking and not each.gate.passed]
    if failed:
        outcome = proposed = "refused"
    whys = dict.fromkeys(f"{each.gate.gate}: {each.gate.why}" for each in failed)
    reason = "; ".join(whys) or better.why
    if outcome == PENDING:
        reason = f"would be {proposed}: {reason}"
    elif outcome != REFUSED and candidate.approval is not None:
        reason += f"; {candidate.approval.words}"
    return Decision(candidate.release, outcome, proposed, reason, tuple(judged))


def better_gate(candidate: Candidate, comparison: Comparison | None, spec: VerticalSpec) -> Gate:
    """Whether the candidate takes the champion's place; it blocks nothing: one that does not
    becomes a challenger, and where the two can't be compared a person may still prefer it.
    """
    promote, bar = spec.promote, spec.promote.min_gain
    if candidate.champion is None:
        return Gate(BETTER, True, False, None, bar, "there is no champion to compare with")
    if comparison is None or comparison.gain is None:
        why = candidate.incomparable or "it was not compared with the champion"
        why += (
            f"; vertical-assets rollback {spec.name} --to {candidate.release[:8]} puts it in the "
            "champion's place all the same"
        )
        return Gate(BETTER, False, False, None, bar, why)
    gain, relative = comparison.gain, comparison.relative
    enough = relative > bar  # an undefined gain is not
    why = (
        f"{comparison.metric} {comparison.ours:.4f} against {comparison.theirs:.4f} of champion "
        f"{candidate.champion[:8]} on {comparison.items} test items: {gain.words}, "
        f"{relative:+.2%} of it; more than {bar:.2%} is asked for, p <= {promote.significance:g}"
    )
    if comparison.left_out is None:
        why += "; its release does not say what it was trained on"
    elif comparison.left_out:
        why += f"; {comparison.left_out} items that the champion was trained on were left out"
    return Gate(BETTER, enough and _significant(gain, promote), False, relative, bar, why)


def worse_gate(comparison: Comparison, promote: Promote) -> Gate:
    """A model that is significantly worse than the champion answers no request at all.

    Where `promote.significance` asks for less than the usual 0.05, being worse still takes that.
    """
    gain, level = comparison.gain, min(promote.significance, SIGNIFICANT)
    worse = gain is not None and gain.value < 0 and gain.p is not None and gain.p <= level
    why = f"{comparison.metric} is {comparison.relative:+.2%} against the champion's" + (
        ": the model is worse" if worse else ", not significantly below it"
    )
    return Gate(WORSE, not worse, True, comparison.relative, None, why)


def _significant(gain: Gain, promote: Promote) -> bool:
    return promote.significance == 1 or (gain.p is not None and gain.p <= promote.significance)


def approval_gate(candidate: Candidate, spec: VerticalSpec) -> Gate:
    """What a person said; a refusal blocks, nothing said yet does not."""
    said = candidate.approval
    if said is None:
        why = f"waits for vertical-assets approve {spec.name} {candidate.release[:8]}"
        return Gate(APPROVAL, False, False, None, None, why)
    return Gate(APPROVAL, said.approved, True, None, None, said.words)


def figures_of(decision: Decision, comparison: Comparison | None) -> dict[str, Any]:
    """What the asset's page says in figures."""
    found: dict[str, Any] = {"release": decision.release, "verdict": decision.outcome}
    if comparison is not None:
        found |= {"test_items": comparison.items, f"test_{comparison.metric}": comparison.ours}
        if comparison.gain is not None:
            low, high = comparison.relative_interval
            found |= {
                "champion_" + comparison.metric: comparison.theirs,
                "relative_gain": comparison.relative,
                "relative_gain_low": low,
                "relative_gain_high": high,
                "gain_p": comparison.gain.p,
                "left_out": comparison.left_out,
            }
    return {name: value for name, value in found.items() if value is not None}
