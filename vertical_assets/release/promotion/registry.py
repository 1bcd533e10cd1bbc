"""MLflow's model registry as a mirror of the channels: aliases champion and challenger (SPEC O3).

The channels are what is served; the registry follows. A release becomes a version of the
registered model that is named as the vertical: its directory as it is, of OpenVINO's files, no
pickle.
"""

from pathlib import Path
from typing import Any

from upath import UPath

from vertical_assets.release.channels import ARTIFACT, LIVE, read_channels
from vertical_assets.store.versions import local_directory

RELEASE = "release"  # tag of a model version: the digest
_SQLITE = "sqlite:///"


def is_there(uri: str) -> bool:
    """Whether a tracking store may hold a registry; a SQLite file that was never made does not."""
    return not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).exists()


def mirror(folder: UPath, uri: str, facts: dict[str, Any] | None = None) -> dict[str, str]:
    """Gives the registry's aliases to the releases that the channels name; returns alias ->
    version. What is as it should be is left alone.

    Args:
        folder: the vertical's releases.
        uri: of MLflow's tracking store.
        facts: tags of a version that is registered now.

    Raises:
        MlflowException: the registry does not answer or refuses.
    """
    from mlflow import MlflowClient

    vertical, channels = folder.parent.name, read_channels(folder)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    if not client.search_registered_models(f"name = '{vertical}'"):
        client.create_registered_model(vertical, tags={"vertical": vertical})
    aliases: dict[str, str] = dict(client.get_registered_model(vertical).aliases)
    found = client.search_model_versions(f"name = '{vertical}'")
    versions = {each.tags[RELEASE]: str(each.version) for each in found if RELEASE in each.tags}
    for alias in LIVE:
        release = getattr(channels, alias)
        if release is None:
            if alias in aliases:
                client.delete_registered_model_alias(vertical, alias)
                del aliases[alias]
            continue
        if release not in versions:
            versions[release] = _register(client, vertical, folder / release, facts or {})
        if str(aliases.get(alias)) != versions[release]:
            client.set_registered_model_alias(vertical, alias, versions[release])
            aliases[alias] = versions[release]
    return {alias: str(aliases[alias]) for alias in LIVE if alias in aliases}


def _register(client: Any, vertical: str, release: UPath, facts: dict[str, Any]) -> str:
    """A new version: the release's artifact, logged by a run of its own."""
    from mlflow.entities import RunStatus

    tags = {RELEASE: release.name, **{name: str(value) for name, value in facts.items()}}
    name = f"{vertical}/release {release.name[:8]}"
    experiment = _experiment(client)
    run = client.create_run(
        experiment, run_name=name, tags={"vertical": vertical, "asset": RELEASE}
    )
    status = RunStatus.FAILED
    try:
        client.log_artifacts(run.info.run_id, str(local_directory(release) / ARTIFACT), ARTIFACT)
        source = f"{run.info.artifact_uri}/{ARTIFACT}"
        made = client.create_model_version(vertical, source, run_id=run.info.run_id, tags=tags)
        status = RunStatus.FINISHED
    finally:
        client.set_terminated(run.info.run_id, RunStatus.to_string(status))
    return str(made.version)


def _experiment(client: Any) -> str:
    from vertical_assets.training.tracking import EXPERIMENT

    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))
