"""Resources and the executor, each bound once for all verticals."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from vertical_assets.store.io_managers import StoreIOManager

# Loaded once in the fork server: a step then starts in a moment, and a light one never sees torch.
PRELOADED = ["pyarrow.dataset", "vertical_assets.vertical"]


@dg.resource(
    config_schema={"tracking_uri": dg.Field(str, is_required=False)},
    description="MLflow through dagster-mlflow; imported when a training asks for it.",
)
def mlflow(context: dg.InitResourceContext) -> Iterator[Any]:
    """dagster-mlflow's own resource, behind a late import: MLflow alone takes three seconds."""
    from dagster_mlflow import mlflow_tracking

    uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///data/mlflow.db")
    inner = mlflow_tracking.configured(
        {
            "experiment_name": "vertical_assets",
            "mlflow_tracking_uri": uri,
            "env": {},
            "extra_tags": {},
        }
    )
    yield from inner.resource_fn(context.replace_config({}))


@dg.definitions
def defs() -> dg.Definitions:
    return dg.Definitions(
        resources={"io_manager": StoreIOManager(), "mlflow": mlflow},
        executor=dg.multiprocess_executor.configured(
            {
                "max_concurrent": 2,
                "start_method": {"forkserver": {"preload_modules": PRELOADED}},
            }
        ),
    )
