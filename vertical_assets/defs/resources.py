"""Resources and the executor, each bound once for all verticals."""

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg

from vertical_assets.automation import by_weight
from vertical_assets.labels.studio.automation import LabelStudioServer
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.training.tracking import EXPERIMENT, tracking_uri


@dg.resource(description="MLflow through dagster-mlflow; imported when a training asks for it.")
def mlflow(context: dg.InitResourceContext) -> Iterator[Any]:
    """dagster-mlflow's own resource, behind a late import: MLflow alone takes three seconds.

    Runs go to `MLFLOW_TRACKING_URI`, by default the SQLite file `data/mlflow.db`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        from dagster_mlflow import mlflow_tracking

        config = {"experiment_name": EXPERIMENT, "mlflow_tracking_uri": tracking_uri()}
        yield from mlflow_tracking.resource_fn(context.replace_config(config))


@dg.definitions
def defs() -> dg.Definitions:
    return dg.Definitions(
        resources={
            "io_manager": StoreIOManager(),
            "mlflow": mlflow,
            "label_studio": LabelStudioServer(),
        },
        # For what the loop or people in the UI materialize.
        executor=by_weight,
    )
