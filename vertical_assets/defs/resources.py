"""Resources and the executor, each bound once for all verticals."""

import os
import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg

from vertical_assets.store.io_managers import StoreIOManager

# Loaded once in the fork server: a step then starts in a moment, and a light one never sees torch.
PRELOADED = ["pyarrow.dataset", "vertical_assets.vertical"]


@dg.resource(description="MLflow through dagster-mlflow; imported when a training asks for it.")
def mlflow(context: dg.InitResourceContext) -> Iterator[Any]:
    """dagster-mlflow's own resource, behind a late import: MLflow alone takes three seconds.

    Runs go to `MLFLOW_TRACKING_URI`, by default the SQLite file `data/mlflow.db`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        from dagster_mlflow import mlflow_tracking

        uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///data/mlflow.db")
        config = {"experiment_name": "vertical_assets", "mlflow_tracking_uri": uri}
        yield from mlflow_tracking.resource_fn(context.replace_config(config))


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
