"""What is released, and what is not: the built model against champions and in bad condition."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from huggingface_hub import ModelCard, ModelCardData

from vertical_assets.evaluation import metrics
from vertical_assets.labels.splits import TEST
from vertical_assets.release import channels
from vertical_assets.release.files import DESCRIPTION
from vertical_assets.release.promotion.comparison import answers_table
from vertical_assets.release.promotion.frozen import (
    frozen_digest,
    frozen_test,
    read_trained_on,
    trained_on,
)
from vertical_assets.release.promotion.gates import Stored
from vertical_assets.release.promotion.promote import DECIDED
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.release.promotion.conftest import (
    Judged,
    altered,
    failed,
    now,
    promoted,
    put_champion,
    ruined,
    short_sighted,
)


def test_the_first_release_answers_and_says_what_it_was_made_from(judged: Judged) -> None:
    result = promoted(judged)
    assert result.decision.outcome == "champion"
    digest = judged.stored.artifact.name
    folder = channels.releases_folder(judged.root, "tiny")
    assert channels.open_champion(folder)[0] == digest
    decided = json.loads((folder / digest / DECIDED).read_text())
    assert decided["test_set"]["digest"] == frozen_digest(judged.stored.labeled)
    assert decided["inputs"] == judged.stored.versions
    assert {row["gate"] for row in decided["verdicts"]} >= {"alpha", "f1_drop", "worst_slice"}
    assert np.array_equal(read_trained_on(folder / digest), trained_on(judged.stored.labeled))


def test_the_card_of_a_release_is_one_of_the_hub(judged: Judged) -> None:
    result = promoted(judged)
    folder = channels.releases_folder(judged.root, "tiny")
    card = ModelCard((folder / result.decision.release / "README.md").read_text())
    assert card.content == result.card
    assert isinstance(card.data, ModelCardData)
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.eval_results is not None
    (f1, accuracy) = card.data.eval_results
    assert (f1.metric_type, accuracy.metric_type) == ("f1", "accuracy")
    assert f1.dataset_revision == frozen_digest(judged.stored.labeled)
    assert result.comparison is not None
    assert f1.metric_value == pytest.approx(result.comparison.ours)
    for part in ("simulated annotators", "dissatisfied", "Krippendorff's alpha 0.8", "fgsm"):
        assert part in card.text
    assert all(version in card.text for version in judged.stored.versions.values())


def test_doing_it_again_changes_nothing(judged: Judged) -> None:
    first = promoted(judged)
    before = now(judged)
    again = promoted(judged)
    assert now(judged) == before
    assert len(before.history) == 1
    assert again.decision.table().equals(first.decision.table())
    assert again.card == first.card


def test_a_better_model_takes_the_champions_place(judged: Judged, tmp_path: Path) -> None:
    old = put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted))
    result = promoted(judged)
    assert result.decision.outcome == "champion"
    assert now(judged).champion == judged.stored.artifact.name
    assert now(judged).history[-1]["was"] == old
    assert result.comparison is not None
    assert result.comparison.gain is not None
    assert result.comparison.relative > judged.spec.promote.min_gain
    assert "incumbent" in result.comparison.report["model"].to_pylist()
    assert "gain over incumbent" in result.card
    # The same comparison, though the champion is now the candidate itself.
    assert promoted(judged).decision.table().equals(result.decision.table())
    assert len(now(judged).history) == 2


def test_a_model_that_is_no_better_becomes_a_challenger(judged: Judged, tmp_path: Path) -> None:
    def relabelled(artifact: Path) -> None:
        (artifact / "licences.json").write_text("[]")  # another artifact with the same answers

    old = put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", relabelled))
    result = promoted(judged)
    assert result.decision.outcome == "challenger"
    assert (now(judged).champion, now(judged).challenger) == (old, judged.stored.artifact.name)
    assert "gain +0.0000" in result.decision.reason
    assert promoted(judged).decision.outcome == "challenger"
    assert len(now(judged).history) == 2


def worse_model(judged: Judged, to: Path) -> Stored:
    """A model that is worse, not its INT8 form: predictions and report say the same."""
    artifact = altered(judged.stored.artifact, to, short_sighted)
    tested = frozen_test(judged.stored.labeled)
    said = answers_table(artifact, tested, judged.spec)
    others = judged.stored.predictions.filter(
        pc.not_equal(judged.stored.predictions["split"], TEST)
    )
    predictions = pa.concat_tables([others, said])
    report = metrics.report_of(predictions, judged.baselines, [], judged.spec.labels)
    return replace(judged.stored, artifact=artifact, predictions=predictions, evaluation=report)


def test_a_worse_model_is_not_released(judged: Judged, tmp_path: Path) -> None:
    champion = put_champion(judged, judged.stored.artifact)
    result = promoted(judged, worse_model(judged, tmp_path / "worse"))
    assert failed(result) == {"not_worse"}
    assert (now(judged).champion, now(judged).challenger) == (champion, None)
    assert now(judged).role("worse") == "refused"


def test_a_ruined_quantisation_is_not_released(judged: Judged, tmp_path: Path) -> None:
    artifact = altered(judged.stored.artifact, tmp_path / "ruined", ruined)
    result = promoted(judged, replace(judged.stored, artifact=artifact))
    assert "f1_drop" in failed(result)
    assert now(judged).champion is None
    assert channels.released(channels.releases_folder(judged.root, "tiny")) == []


def test_a_changed_file_is_not_released(judged: Judged, tmp_path: Path) -> None:
    artifact = altered(judged.stored.artifact, tmp_path / "changed", lambda _: None)
    ruined(artifact)  # behind the back of the checksums
    result = promoted(judged, replace(judged.stored, artifact=artifact))
    assert "f1_drop" in failed(result)
    assert "is not the file that was released" in result.decision.reason
    assert now(judged).champion is None


def test_a_leaked_test_set_releases_nothing(judged: Judged) -> None:
    """One test item's text stands among the training items."""
    rows = judged.stored.labeled.to_pylist()
    leaking = next(row for row in rows if row["split"] == TEST)
    training = next(row for row in rows if row["split"] == "train")
    training["text"] = leaking["text"]
    labeled = pa.Table.from_pylist(rows, judged.stored.labeled.schema)
    result = promoted(judged, replace(judged.stored, labeled=labeled))
    assert failed(result) == {"no_leakage"}
    assert now(judged).champion is None


def test_a_slice_that_collapses_releases_nothing(judged: Judged) -> None:
    rows = judged.stored.slices.to_pylist()
    worst = next(row for row in rows if row["split"] == TEST and row["dimension"] == "class")
    worst.update(value=0.1, low=0.05, high=0.2, drop=0.7, least_drop=0.6)
    slices = pa.Table.from_pylist(rows, judged.stored.slices.schema)
    result = promoted(judged, replace(judged.stored, slices=slices))
    assert failed(result) == {"worst_slice"}
    assert now(judged).champion is None


def test_a_check_that_failed_on_record_releases_nothing(judged: Judged) -> None:
    result = promoted(judged, more=[("labeled_set", "items_conserved", "1 is lost")])
    assert failed(result) == {"recorded:items_conserved"}
    assert now(judged).champion is None


def test_an_artifact_of_other_labels_is_not_released(judged: Judged) -> None:
    manifest = {**judged.stored.artifact_manifest, "inputs": {"labeled_set": "older"}}
    result = promoted(judged, replace(judged.stored, artifact_manifest=manifest))
    assert failed(result) == {"same_model"}
    assert "quantized_artifact is of another labeled_set" in result.decision.reason


def test_a_champion_in_place_stays_there_when_a_gate_fails_later(judged: Judged) -> None:
    promoted(judged)
    before = now(judged)
    result = promoted(judged, more=[("labeled_set", "items_conserved", "1 is lost")])
    assert result.decision.outcome == "refused"
    assert now(judged) == before


def test_what_the_champion_was_trained_on_is_left_out(judged: Judged, tmp_path: Path) -> None:
    """The test set has grown by items that the champion has seen."""
    labeled = judged.stored.labeled
    splits = labeled["split"].to_pylist()
    halved = ["train" if s == TEST and place % 2 else s for place, s in enumerate(splits)]
    column = pa.array(halved)
    earlier = labeled.set_column(labeled.schema.get_field_index("split"), "split", column)
    moved = len(frozen_test(labeled)) - len(frozen_test(earlier))
    put_champion(
        judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted), seen=earlier
    )
    result = promoted(judged)
    assert result.comparison is not None
    assert moved > 0
    assert result.comparison.left_out == moved
    assert result.comparison.items == len(frozen_test(earlier))
    assert f"{moved} items that the champion was trained on were left out" in (
        next(v.gate.why for v in result.decision.verdicts if v.gate.gate == "better")
    )


def test_a_champion_that_saw_all_test_items_is_no_measure(judged: Judged, tmp_path: Path) -> None:
    labeled = judged.stored.labeled
    everything = pa.array(["train"] * len(labeled))
    seen = labeled.set_column(labeled.schema.get_field_index("split"), "split", everything)
    put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted), seen)
    result = promoted(judged)
    assert result.decision.outcome == "challenger"
    assert "the champion was trained on all" in result.decision.reason


def test_a_champion_of_another_label_set_is_no_measure(judged: Judged, tmp_path: Path) -> None:
    """The label standard has changed: the model is measured against the baselines alone."""

    def relabelled(artifact: Path) -> None:
        description = json.loads((artifact / DESCRIPTION).read_text())
        labels = ["negative", "neutral"]
        (artifact / DESCRIPTION).write_text(json.dumps({**description, "labels": labels}))

    old = put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", relabelled))
    result = promoted(judged)
    assert result.decision.outcome == "challenger"
    assert "labels negative, neutral: the label standard has changed" in result.decision.reason
    assert (now(judged).champion, now(judged).challenger) == (old, result.decision.release)
    assert result.comparison is not None
    assert result.comparison.items == len(frozen_test(judged.stored.labeled))
    assert f"{result.comparison.ours:.3f}" in result.card
    folder = channels.releases_folder(judged.root, "tiny")
    channels.rollback(folder, to=result.decision.release, reason="a person prefers it")
    assert channels.open_champion(folder)[0] == result.decision.release


def test_a_damaged_champion_is_no_measure(judged: Judged, tmp_path: Path) -> None:
    old = put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted))
    folder = channels.releases_folder(judged.root, "tiny")
    (folder / old / channels.ARTIFACT / "model.bin").write_bytes(b"")
    result = promoted(judged)
    assert result.decision.outcome == "challenger"
    assert "model.bin is not the file that was released" in result.decision.reason
    assert now(judged).champion == old


def test_the_test_set_may_be_another_than_the_champions(judged: Judged, tmp_path: Path) -> None:
    """The champion was tried on other items: both are asked about today's, none is left out."""
    labeled = judged.stored.labeled
    others = frozen_test(labeled).slice(0, 2)
    earlier = pa.concat_tables([labeled.filter(pc.not_equal(labeled["split"], TEST)), others])
    put_champion(
        judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted), seen=earlier
    )
    result = promoted(judged)
    assert result.comparison is not None
    assert (result.comparison.items, result.comparison.left_out) == (len(frozen_test(labeled)), 0)
    assert result.decision.outcome == "champion"


def test_a_model_that_was_not_asked_about_the_test_set_is_not_released(judged: Judged) -> None:
    labeled = judged.stored.labeled
    untested = labeled.filter(pc.not_equal(labeled["split"], TEST))
    result = promoted(judged, replace(judged.stored, labeled=untested))
    assert failed(result) >= {"measured", "f1_drop"}
    assert "labeled_set has no test item" in result.decision.reason
    assert now(judged).champion is None


def test_reports_of_fewer_items_are_refused_with_the_reason(judged: Judged) -> None:
    """The labelled set was made again by hand, and has test items that nothing was asked about."""
    said = judged.stored.predictions
    (lost, *_) = said.filter(pc.equal(said["split"], TEST))["item_id"].to_pylist()
    predictions, baselines = (
        each.filter(pc.not_equal(each["item_id"], lost)) for each in (said, judged.baselines)
    )
    result = promoted(judged, replace(judged.stored, predictions=predictions))
    assert failed(result) == {"f1_drop"}
    assert f"test items, e.g. {lost}: materialize predictions again" in result.decision.reason
    result = promoted(replace(judged, baselines=baselines))
    assert failed(result) == {"measured"}
    assert f"items, e.g. {lost}; let it predict the same labeled_set" in result.decision.reason
    assert now(judged).champion is None


def test_killed_before_its_channel_was_set_it_is_released_by_the_next_run(
    judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(channels, "set_channel", die)
        with pytest.raises(KeyboardInterrupt):
            promoted(judged)
    folder, digest = channels.releases_folder(judged.root, "tiny"), judged.stored.artifact.name
    assert (channels.released(folder), now(judged).champion) == ([digest], None)
    with pytest.raises(channels.ReleaseError, match="never answered a request"):
        channels.rollback(folder, to=digest)  # nobody decided about it
    assert promoted(judged).decision.outcome == "champion"
    assert now(judged).champion == digest


def test_a_champion_that_changes_meanwhile_is_not_overruled(
    judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody goes back to the first release while the candidate is compared with the second."""

    def relabelled(artifact: Path) -> None:
        (artifact / "licences.json").write_text("[]")

    first = put_champion(judged, altered(judged.stored.artifact, tmp_path / "first", relabelled))
    put_champion(judged, altered(judged.stored.artifact, tmp_path / "second", short_sighted))
    store = channels.store_release

    def gone_back(*given: Any) -> str:
        channels.rollback(channels.releases_folder(judged.root, "tiny"))
        return store(*given)

    with monkeypatch.context() as patch:
        patch.setattr(channels, "store_release", gone_back)
        with pytest.raises(channels.ReleaseError, match="became the champion while"):
            promoted(judged)
    assert (now(judged).champion, now(judged).challenger) == (first, None)
    assert promoted(judged).decision.outcome == "challenger"  # no better than the first


@pytest.mark.parametrize("gate", ["noise_drop", "argmax_agreement"])
def test_a_gate_that_is_demanded_holds_a_model_back(judged: Judged, gate: str) -> None:
    """By default both warn only; here the YAML asks for them."""
    demanded = {**tiny()["promote"], "gates": [gate]}
    strict = {"evaluate": {"robustness": {"max_drop": 0.0}}} if gate == "noise_drop" else {}
    spec = VerticalSpec(**tiny(promote=demanded, **strict))
    report = judged.stored.robustness.to_pylist()
    for row in report:
        if (row["attack"], row["level"]) == ("deletion", 0.1):
            row["drop"] = 0.6
    said = judged.stored.predictions.to_pylist()
    for row in [row for row in said if row["split"] == TEST][:9]:
        row["predicted"] = "negative" if row["predicted"] == "positive" else "positive"
    stored = replace(
        judged.stored,
        robustness=pa.Table.from_pylist(report, judged.stored.robustness.schema),
        predictions=pa.Table.from_pylist(said, judged.stored.predictions.schema),
    )
    assert gate not in failed(promoted(judged, stored))
    assert gate in failed(promoted(replace(judged, spec=spec), stored))


def test_what_was_rolled_back_from_stays_out(judged: Judged, tmp_path: Path) -> None:
    old = put_champion(judged, altered(judged.stored.artifact, tmp_path / "old", short_sighted))
    promoted(judged)
    channels.rollback(channels.releases_folder(judged.root, "tiny"))
    result = promoted(judged)
    assert failed(result) == {"not_withdrawn"}
    assert now(judged).champion == old


def test_labels_below_the_bar_are_released_where_people_decided_the_disputed_ones(
    judged: Judged,
) -> None:
    """The gate is the one that training passed: alpha, or a person's word on every dispute (D8)."""

    def with_alpha(value: float, verdict: str) -> Stored:
        agreement = judged.stored.agreement.to_pylist()
        agreement[0]["value"] = value
        verdicts = [{**row, "verdict": verdict} for row in judged.stored.verdicts.to_pylist()]
        return replace(
            judged.stored,
            agreement=pa.Table.from_pylist(agreement, judged.stored.agreement.schema),
            verdicts=pa.Table.from_pylist(verdicts, judged.stored.verdicts.schema),
        )

    assert failed(promoted(judged, with_alpha(0.4555, "refused"))) == {"alpha"}
    assert now(judged).champion is None
    assert promoted(judged, with_alpha(0.4555, "adjudicated")).decision.outcome == "champion"
