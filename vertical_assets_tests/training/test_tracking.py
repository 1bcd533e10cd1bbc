"""MLflow: one run per asset, nested in the Dagster run's, with the right status and tags."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.tracking import log_curve, tracked
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny())


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Any]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("test")
    mlflow.start_run()  # as dagster-mlflow does
    yield mlflow
    mlflow.end_run()
    mlflow.set_tracking_uri("")


def runs(mlflow: Any) -> dict[str, Any]:
    return {run.info.run_name: run for run in mlflow.search_runs(output_format="list")}


def test_a_run_per_asset_with_parameters_metrics_and_tags(mlflow: Any) -> None:
    with tracked(mlflow, SPEC, "finetuned_ckpt", "abcdef0123", ["finetune"]) as run:
        run.log_metrics({"val_f1_macro": 0.9})
        log_curve([{"epoch": 0.0, "step": step, "of": 3, "batch_loss": 1.0} for step in (1, 2, 3)])
    found = runs(mlflow)
    child, parent = found["tiny/finetuned_ckpt"], found["tiny abcdef01"]
    assert {child.info.status, parent.info.status} == {"FINISHED"}
    assert child.data.params["finetune.learning_rate"] == str(SPEC.finetune.learning_rate)
    assert child.data.metrics == {"val_f1_macro": 0.9, "batch_loss": 1.0}
    wanted = {"vertical": "tiny", "asset": "finetuned_ckpt", "dagster_run_id": "abcdef0123"}
    assert wanted.items() <= child.data.tags.items()
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_a_failed_training_is_a_failed_run(mlflow: Any) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracked(mlflow, SPEC, "pretrained_ckpt", "abcdef0123", ["pretrain"]),
    ):
        _ = 1 / 0
    assert {run.info.status for run in runs(mlflow).values()} == {"FAILED"}
