"""From what is stored to a release: judged, compared, decided, put into its channel (SPEC O3)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from upath import UPath

from vertical_assets.evaluation import metrics
from vertical_assets.release import channels
from vertical_assets.release.files import CARD, DamagedArtifactError
from vertical_assets.release.promotion.approvals import Approvals
from vertical_assets.release.promotion.cards import model_card
from vertical_assets.release.promotion.comparison import Comparison, ComparisonError, compare
from vertical_assets.release.promotion.decision import (
    APPROVAL,
    REFUSED,
    Candidate,
    Decision,
    decide,
    figures_of,
)
from vertical_assets.release.promotion.frozen import (
    TRAINED_ON,
    as_bytes,
    frozen_digest,
    read_trained_on,
    trained_on,
)
from vertical_assets.release.promotion.gates import Stored, Verdict, as_set, verdicts_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.gates import Gate
from vertical_assets.store.versions import local_directory

DECIDED, MEASURED = "release.json", "measured"


@dataclass(frozen=True)
class Promoted:
    """What became of a candidate, and what it was judged by."""

    decision: Decision
    comparison: Comparison | None
    channels: channels.Channels
    card: str


def promote(
    root: UPath,
    stored: Stored,
    baselines: pa.Table,
    more: Sequence[Verdict],
    approvals: Approvals,
    spec: VerticalSpec,
) -> Promoted:
    """Judges the stored artifact and, unless it is refused, stores it as a release.

    Doing it again changes nothing, and neither does being killed in between: a release is named by
    its content, and a channel that names it already has no new history.

    Args:
        root: the store's root.
        stored: what it is judged by.
        baselines: PREDICTIONS of the asset `baselines`.
        more: verdicts that are on record.
        approvals: what people said.
        spec: the vertical.

    Raises:
        ReleaseError: another champion was put in place meanwhile; nothing was changed.
    """
    folder = channels.releases_folder(root, spec.name)
    now, release = _without_refused(folder, approvals), stored.artifact.name
    champion = now.replaced_by(release)
    comparison, incomparable = _measured(folder, champion, stored, baselines, spec)
    judged = [measured_gate(comparison, incomparable)]
    if comparison is not None:
        judged += metrics.gates_of(comparison.report, spec)
    verdicts = [
        *verdicts_of(stored, spec),
        *more,
        *(Verdict("release", as_set(gate, spec)) for gate in judged),
    ]
    candidate = Candidate(
        release,
        champion,
        reigning=now.champion == release,
        withdrawn=release in now.withdrawn,
        approval=approvals.of(release) if spec.promote.approval == "required" else None,
        incomparable=incomparable,
    )
    decision = decide(candidate, verdicts, comparison, spec)
    judged_by = _without_people(decision)
    card = model_card(stored, comparison, judged_by.verdicts, spec)
    if decision.outcome == REFUSED:
        after = channels.refuse(folder, release, decision.reason)
    else:
        files: dict[str, str | bytes] = {
            CARD: card,
            DECIDED: json.dumps(_manifest(judged_by, comparison, champion, stored, spec), indent=2),
            TRAINED_ON: as_bytes(trained_on(stored.labeled)),
        }
        channels.store_release(root, spec.name, stored.artifact, files)
        after = channels.set_channel(folder, decision.outcome, release, decision.reason, seen=now)
    return Promoted(decision, comparison, after, card)


def _without_refused(folder: UPath, approvals: Approvals) -> channels.Channels:
    """The channels, once those that a person refused are out of them: what is judged may be another
    one by now.
    """
    now = channels.read_channels(folder)
    for release in filter(None, (now.challenger, now.pending)):
        said = approvals.of(release)
        if said is not None and not said.approved:
            now = channels.refuse(folder, release, said.words)
    return now


def _measured(
    folder: UPath,
    champion: str | None,
    stored: Stored,
    baselines: pa.Table,
    spec: VerticalSpec,
) -> tuple[Comparison | None, str | None]:
    """The comparison with the champion, or, where the two can't be compared, with the baselines
    alone and the reason; None where the artifact itself can't be asked.
    """
    whys: dict[str, None] = {}
    for against in dict.fromkeys((champion, None)):
        try:
            comparison = _compared(folder, against, stored, baselines, spec)
        except (ComparisonError, DamagedArtifactError, FileNotFoundError) as error:
            whys[f"not compared: {error}"] = None
        else:
            return comparison, "; ".join(whys) or None
    return None, "; ".join(whys)


def _without_people(decision: Decision) -> Decision:
    """What a release's own files say of it, which never change: people's word, and the channel that
    it got by it, stand in channels.json.
    """
    verdicts = tuple(each for each in decision.verdicts if each.gate.gate != APPROVAL)
    return replace(decision, outcome=decision.proposed, verdicts=verdicts)


def measured_gate(comparison: Comparison | None, why: str | None) -> Gate:
    """The artifact, as it would be served, answered the frozen test set."""
    items = 0 if comparison is None else comparison.items
    said = why if comparison is None else f"the artifact was asked about {items} test items"
    return Gate(MEASURED, comparison is not None, True, float(items), None, str(said))


def _compared(
    folder: UPath,
    champion: str | None,
    stored: Stored,
    baselines: pa.Table,
    spec: VerticalSpec,
) -> Comparison:
    """The comparison; without a champion, with the baselines alone."""
    if champion is None:
        return compare(stored.artifact, stored.labeled, baselines, spec)
    try:
        seen = read_trained_on(folder / champion)
    except FileNotFoundError:
        seen = None
    there = local_directory(folder / champion) / channels.ARTIFACT
    return compare(stored.artifact, stored.labeled, baselines, spec, there, seen)


def _manifest(
    decision: Decision,
    comparison: Comparison | None,
    champion: str | None,
    stored: Stored,
    spec: VerticalSpec,
) -> Mapping[str, Any]:
    """What a release was decided by: versions of everything, the frozen test set, all verdicts."""
    return {
        "vertical": spec.name,
        "compared_with": champion,
        "inputs": dict(stored.versions),
        "test_set": {"digest": frozen_digest(stored.labeled), **figures_of(decision, comparison)},
        "packages": stored.model_manifest.get("packages", {}),
        "seed": spec.seed,
        "spec": spec.digest(list(type(spec).model_fields)),
        "verdicts": decision.table().to_pylist(),
    }
