"""A build leaves curves behind that could be seen while it trained (SPEC T11)."""

import dagster as dg
import pytest

from vertical_assets.store.versions import LOG_TABLE
from vertical_assets_tests.conftest import Project
from vertical_assets_tests.test_build import instance_of


@pytest.mark.parametrize(
    ("asset", "metric"), [("pretrained_ckpt", "val_loss"), ("finetuned_ckpt", "val_accuracy")]
)
def test_curves_on_the_page_and_in_tensorboard(built: Project, asset: str, metric: str) -> None:
    with instance_of(built) as instance:
        key = dg.AssetKey(["tiny", asset])
        records = instance.fetch_observations(key, limit=100).records
        done = instance.get_latest_materialization_event(key)
    told = [record.asset_observation for record in records if record.asset_observation]
    assert len(told) >= 2  # one at every validation, before the asset was there
    assert all({"step", "batch_loss", metric} <= set(each.metadata) for each in told)
    assert done is not None
    assert all(record.timestamp < done.timestamp for record in records)
    assert list((built.root / "data" / "tensorboard" / "tiny" / asset).glob("*/events.*"))
    assert (built.current(asset) / LOG_TABLE).exists()
