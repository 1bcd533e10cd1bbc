"""Artifacts to release."""

import json
import shutil
from pathlib import Path

import pytest

from vertical_assets.release.files import DESCRIPTION, checksums
from vertical_assets_tests.conftest import Project


@pytest.fixture
def artifacts(built: Project, tmp_path: Path) -> list[Path]:
    """The built artifact, and another one that reads fewer tokens."""
    other = tmp_path / "other"
    shutil.copytree(built.current("quantized_artifact"), other)
    description = json.loads((other / DESCRIPTION).read_text())
    (other / DESCRIPTION).write_text(json.dumps({**description, "max_tokens": 4}))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "checksums": checksums(other)}))
    return [built.current("quantized_artifact"), other]
