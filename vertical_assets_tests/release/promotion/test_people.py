"""A release that people decide about: it waits, is approved or refused, and the word is kept."""

import json
from dataclasses import replace
from pathlib import Path

from vertical_assets.release import channels
from vertical_assets.release.files import LICENCES
from vertical_assets.release.promotion.approvals import Approval
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.release.promotion.conftest import (
    Judged,
    altered,
    now,
    promoted,
    put_champion,
    short_sighted,
)


def by_people(judged: Judged) -> Judged:
    promote = {**tiny()["promote"], "approval": "required"}
    return replace(judged, spec=VerticalSpec(**tiny(promote=promote)))


def unlicensed(artifact: Path) -> None:
    """The same model, yet another artifact."""
    (artifact / LICENCES).write_text("[]")


def word(release: str, approved: bool) -> Approval:
    return Approval(release, approved, "Ada", "read the card", "2024-05-01T10:00:00+00:00")


def test_a_release_waits_until_it_is_approved(judged: Judged) -> None:
    waiting, digest = by_people(judged), judged.stored.artifact.name
    assert promoted(waiting).decision.outcome == "pending"
    assert (now(judged).champion, now(judged).pending) == (None, digest)
    folder = channels.releases_folder(judged.root, "tiny")
    assert (folder / digest / "README.md").exists()  # what it is approved by
    promoted(waiting, said=[word("0" * 32, True)])  # another digest: nothing happens
    assert (now(judged).champion, now(judged).pending) == (None, digest)
    result = promoted(waiting, said=[word(digest, True)])
    assert result.decision.outcome == "champion"
    assert (now(judged).champion, now(judged).pending) == (digest, None)
    # Its files were written before, and stay true.
    card = (folder / digest / "README.md").read_text()
    assert "waits for" not in card
    assert "`vertical-assets releases tiny` lists it" in card
    assert json.loads((folder / digest / "release.json").read_text())["test_set"]["verdict"] == (
        "champion"
    )
    assert (
        "approved by Ada at 2024-05-01T10:00:00+00:00: read the card"
        in (now(judged).history[-1]["reason"])
    )


def test_a_refused_challenger_answers_no_longer_though_another_is_judged(
    judged: Judged, tmp_path: Path
) -> None:
    waiting = by_people(judged)
    put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted))
    folder = channels.releases_folder(judged.root, "tiny")
    digest = judged.stored.artifact.name
    other = altered(judged.stored.artifact, tmp_path / "other", unlicensed)
    challenger = channels.store_release(judged.root, "tiny", other, {})
    channels.set_channel(folder, "challenger", challenger, "sound")
    result = promoted(waiting, said=[word(challenger, False)])
    assert (now(judged).challenger, now(judged).role(challenger)) == (None, "refused")
    assert (result.decision.release, result.decision.outcome) == (digest, "pending")


def test_a_refusal_is_recorded_and_may_be_taken_back(judged: Judged) -> None:
    waiting, digest = by_people(judged), judged.stored.artifact.name
    promoted(waiting)
    assert promoted(waiting, said=[word(digest, False)]).decision.outcome == "refused"
    assert (now(judged).pending, now(judged).role(digest)) == (None, "refused")
    assert "refused by Ada" in now(judged).history[-1]["reason"]
    said = [word(digest, False), word(digest, True)]
    assert promoted(waiting, said=said).decision.outcome == "champion"
    assert now(judged).role(digest) == "champion"
