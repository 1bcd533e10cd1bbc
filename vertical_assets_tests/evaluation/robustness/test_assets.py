"""The asset robustness_report in one process: its table, its page and its verdicts."""

from pathlib import Path

import dagster as dg
import pytest

from vertical_assets.evaluation.robustness.assets import build_assets
from vertical_assets.evaluation.robustness.report import gates_of
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current, stage_directory
from vertical_assets_tests.evaluation.robustness.test_report import (
    TEXTS,
    checkpoint_of,
    labeled,
    spec_of,
)
from vertical_assets_tests.training.encoders import write_encoder


@pytest.mark.parametrize("bar", [0.0, 1.0])
def test_the_report_of_a_vertical(
    bar: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERTICAL_STORE", raising=False)
    spec = spec_of("classification", max_fgsm_drop=bar, fgsm_epsilon=0.4)
    checkpoint = checkpoint_of(
        "classification", write_encoder("bert", TEXTS, tmp_path / "base", 2), tmp_path / "made"
    )
    table = labeled("classification")
    for asset, staged in (
        ("finetuned_ckpt", stage_directory(store_root(), checkpoint)),
        ("labeled_set", stage_table(store_root(), table.schema, table.to_batches())),
    ):
        commit(staged, store_root() / "tiny" / asset)
    above = [dg.AssetSpec(["tiny", name]) for name in ("finetuned_ckpt", "labeled_set")]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*build_assets(spec, "evaluation"), *above],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
            raise_on_error=False,
        )
    verdicts = {v.check_name: v for v in result.get_asset_check_evaluations()}
    stored = Table((current(store_root() / "tiny" / "robustness_report"),)).read()
    gates = {gate.gate: gate for gate in gates_of(stored, spec)}
    assert set(verdicts) == set(gates) == {"noise_drop", "fgsm_drop"}
    assert all(verdicts[name].passed == gate.passed for name, gate in gates.items())
    fgsm = gates["fgsm_drop"]
    assert fgsm.blocking
    assert fgsm.value is not None
    assert fgsm.passed == (fgsm.value <= bar)
    (event,) = result.asset_materializations_for_node("tiny__robustness_report")
    assert "data:image/png" in str(event.metadata["curves"].value)
    assert "aspirin" in str(event.metadata["examples"].value)
