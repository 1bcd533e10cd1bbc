"""MLflow's registry says the same as the channels, in a real SQLite store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from upath import UPath

from vertical_assets.release import channels
from vertical_assets.release.files import checksums
from vertical_assets.release.promotion.registry import is_there, mirror
from vertical_assets_tests.release.promotion.conftest import inside


def aliases(client: MlflowClient) -> dict[str, str | None]:
    """alias -> release, as the registry has it."""
    found: dict[str, str | None] = dict.fromkeys(channels.LIVE)
    for alias, version in client.get_registered_model("tiny").aliases.items():
        found[alias] = client.get_model_version("tiny", version).tags["release"]
    return found


def test_aliases_are_the_channels(
    artifacts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(tmp_path, monkeypatch):
        uri = "sqlite:///mlflow.db"
        root = UPath(tmp_path / "store")
        root.mkdir()
        first, second = (channels.store_release(root, "tiny", path, {}) for path in artifacts)
        folder = channels.releases_folder(root, "tiny")
        assert not is_there(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)

        def follows() -> bool:
            mirror(folder, uri, {"test_f1_macro": 0.8})
            now = channels.read_channels(folder)
            return aliases(client) == {"champion": now.champion, "challenger": now.challenger}

        channels.set_channel(folder, "champion", first, "the first")
        assert follows()
        assert is_there(uri)
        channels.set_channel(folder, "challenger", second, "not better enough")
        assert follows()
        channels.set_channel(folder, "champion", second, "better")
        assert follows()
        channels.rollback(folder)
        assert follows()
        versions = client.search_model_versions("name = 'tiny'")
        assert len(versions) == 2  # nothing is registered twice
        version = client.get_model_version_by_alias("tiny", "champion")
        assert version.tags["test_f1_macro"] == "0.8"
        logged = client.download_artifacts(version.run_id, channels.ARTIFACT, str(tmp_path))
        assert checksums(Path(logged)) == checksums(artifacts[0])
        assert not [file for file in Path(logged).rglob("*") if file.suffix in (".pkl", ".pickle")]
