"""MLflow runs: one per training asset, nested in the run that dagster-mlflow opens (SPEC C6, T11).

dagster-mlflow keeps one MLflow run per Dagster run, shared by its steps. Each asset gets a child
run of its own, tagged with vertical, asset and Dagster run, and both end with the right status:
left alone, MLflow 3 shows a failed run as FINISHED.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from vertical_assets.spec import VerticalSpec

EXPERIMENT = "vertical_assets"


def tracking_uri() -> str:
    """Where runs and models are recorded: `MLFLOW_TRACKING_URI`, by default `data/mlflow.db`."""
    return os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///data/mlflow.db")


@contextmanager
def tracked(
    mlflow: Any, spec: VerticalSpec, asset: str, dagster_run: str, sections: Sequence[str]
) -> Iterator[Any]:
    """Opens the asset's run, logs the spec sections as parameters, closes it with its status."""
    tags = {"vertical": spec.name, "asset": asset, "dagster_run_id": dagster_run}
    mlflow.set_tags({"vertical": spec.name, "mlflow.runName": f"{spec.name} {dagster_run[:8]}"})
    status = "FAILED"
    try:
        with mlflow.start_run(run_name=f"{spec.name}/{asset}", nested=True, tags=tags):
            mlflow.log_params(parameters(spec, sections))
            yield mlflow
        status = "FINISHED"
    finally:
        mlflow.end_run(status)


def parameters(spec: VerticalSpec, sections: Sequence[str]) -> dict[str, Any]:
    """`section.key` -> value."""
    found: dict[str, Any] = {"seed": spec.seed}
    for section in sections:
        found |= {
            f"{section}.{key}": value for key, value in getattr(spec, section).model_dump().items()
        }
    return found


def log_curve(log: Sequence[Mapping[str, Any]]) -> None:
    """Sends a training log to the active run, a thousand figures at a time."""
    import mlflow
    from mlflow.entities import Metric

    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("no MLflow run is active; call this inside tracked()")
    figures = [
        Metric(name, float(value), 0, int(line["step"]))
        for line in log
        for name, value in line.items()
        if name not in ("epoch", "step", "of")
    ]
    for start in range(0, len(figures), 1000):
        mlflow.MlflowClient().log_batch(run.info.run_id, figures[start : start + 1000])
