"""The asset release on a real instance: what is on record, people's approval, MLflow."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from mlflow import MlflowClient

from vertical_assets.alerts import alerts
from vertical_assets.automation import observations
from vertical_assets.defs.resources import defs as resources
from vertical_assets.release import channels
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import store_root
from vertical_assets.training.tracking import tracking_uri
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import Project, tiny
from vertical_assets_tests.release.promotion.conftest import inside

RELEASE = dg.AssetKey(["tiny", "release"])


@pytest.fixture
def instance(
    copy_of_built: Project, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """The built project's own instance, where nothing was released yet."""
    shutil.rmtree(copy_of_built.root / "data" / "store" / "tiny" / "releases")
    (copy_of_built.root / "data" / "alerts.jsonl").unlink(missing_ok=True)
    with (
        inside(copy_of_built.root, monkeypatch),
        dg.DagsterInstance.from_config(str(copy_of_built.root)) as opened,
    ):
        yield opened


def materialize(instance: dg.DagsterInstance, spec: VerticalSpec) -> dict[str, bool]:
    """Materializes release alone, as a person does by hand; check -> passed."""
    definitions = dg.Definitions.merge(build_definitions(spec), resources())
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, asset_selection=[RELEASE])
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def now() -> channels.Channels:
    return channels.read_channels(channels.releases_folder(store_root(), "tiny"))


def metadata(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(RELEASE)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def spec_of(**promote: str) -> VerticalSpec:
    return VerticalSpec(**tiny(promote={**tiny()["promote"], **promote}))


def test_a_build_ends_with_a_release(built: Project) -> None:
    """What the build released, its card, and MLflow's aliases."""
    folder = built.root / "data" / "store" / "tiny" / "releases"
    decided = json.loads((folder / "channels.json").read_text())
    digest = built.current("quantized_artifact").name
    assert decided["champion"] == digest
    assert (folder / digest / "README.md").read_text().startswith("---\nlanguage:\n- zh\n")
    uri = f"sqlite:///{built.root / 'data' / 'mlflow.db'}"
    champion = MlflowClient(uri, uri).get_model_version_by_alias("tiny", "champion")
    assert champion.tags["release"] == digest


def test_a_failed_check_cannot_be_passed_by_hand(instance: dg.DagsterInstance) -> None:
    """f1_drop is on record as failed, and so is what one source was read with; the other source
    was read later, in order. Somebody materializes release all the same.
    """
    raw = dg.AssetKey(["tiny", "raw_corpus"])
    sources = {r.partition_key: r for r in instance.fetch_materializations(raw, limit=2).records}

    def record_source(name: str, passed: bool) -> None:
        of = sources[name]
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=raw,
                check_name="rows_conserved",
                passed=passed,
                description=f"rows of {name} are lost",
                target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                    storage_id=of.storage_id, run_id=of.run_id, timestamp=of.timestamp
                ),
                blocking=True,
            )
        )

    def record(passed: bool) -> None:
        record_source("first", passed)
        record_source("second", passed=True)
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["tiny", "quantized_artifact"]),
                check_name="f1_drop",
                passed=passed,
                severity=dg.AssetCheckSeverity.ERROR,
                description="INT8 lost too much",
                blocking=True,
            )
        )

    record(passed=False)
    assert materialize(instance, spec_of())["gates"] is False
    assert now().champion is None
    assert metadata(instance)["verdict"] == "refused"
    assert "INT8 lost too much" in metadata(instance)["reason"]
    assert "on record: rows of first are lost" in metadata(instance)["reason"]
    materialize(instance, spec_of())
    (told,) = alerts()  # once, however often it is judged
    assert (told["kind"], told["vertical"]) == ("release_refused", "tiny")
    assert "INT8 lost too much" in told["message"]
    record(passed=True)
    assert all(materialize(instance, spec_of()).values())
    assert now().champion is not None


def test_a_report_of_another_model_cannot_be_passed_by_hand(
    instance: dg.DagsterInstance,
) -> None:
    """A materialization that somebody reports by hand says nothing of what it was made from."""
    by_hand = dg.AssetMaterialization(
        dg.AssetKey(["tiny", "slices"]), tags={"dagster/data_version": "by-hand"}
    )
    instance.report_runless_asset_event(by_hand)
    assert materialize(instance, spec_of())["gates"] is False
    assert now().champion is None
    assert "nothing says what slices was made from" in metadata(instance)["reason"]


def test_a_registry_that_fails_does_not_lose_the_release(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("taken").touch()  # a file where a folder would have to be
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/taken/mlflow.db")
    checks = materialize(instance, spec_of())
    assert (checks["gates"], checks["registry"]) == (True, False)
    assert now().champion is not None
    assert "taken" in metadata(instance)["mlflow"]


def test_approval_from_the_command_line(
    instance: dg.DagsterInstance, copy_of_built: Project
) -> None:
    """Waiting, approved by a command, noticed as a changed file, released."""
    spec = spec_of(approval="required")
    copy_of_built.vertical(tiny(promote=spec.promote.model_dump(mode="json")))
    assert materialize(instance, spec)["approval"] is False
    digest = now().pending
    assert digest is not None
    assert "waits for approval" in copy_of_built.command("releases", "tiny").stdout
    seen = list(observations(spec, instance))
    for each in seen:
        instance.report_runless_asset_event(each)
    assert list(observations(spec, instance)) == []
    said = copy_of_built.command("approve", "tiny", "--by", "Ada", "--reason", "read the card")
    assert said.returncode == 0, said.stderr
    assert f"{digest} is approved by Ada" in said.stdout
    (changed,) = observations(spec, instance)
    assert changed.asset_key == dg.AssetKey(["tiny", "approvals"])
    assert materialize(instance, spec)["approval"] is True
    assert (now().champion, now().pending) == (digest, None)
    told = [(each["kind"], each["release"]) for each in alerts()]
    assert told == [("release_pending", digest), ("release_champion", digest)]
    assert "approved by Ada" in alerts()[1]["message"]
    refused = copy_of_built.command("refuse", "tiny", digest[:8], "--by", "Ada", "--reason", "no")
    assert refused.returncode == 1
    assert "take it out by vertical-assets rollback tiny" in refused.stderr
    assert tracking_uri() == "sqlite:///data/mlflow.db"
