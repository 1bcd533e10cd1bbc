"""The code location: light, valid by either front end, and a house with one road."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vertical_assets import automation
from vertical_assets.vertical import STAGES
from vertical_assets_tests.conftest import ROOT

PACKAGE = ROOT / "vertical_assets"
LOAD = """
import json, sys
from vertical_assets.definitions import defs
graph = defs().resolve_asset_graph()
print(json.dumps({"groups": sorted({n.group_name for n in graph.asset_nodes}),
                  "verticals": sorted({n.key.path[0] for n in graph.asset_nodes}),
                  "heavy": sorted({"torch", "transformers", "lightning", "mlflow", "sklearn",
                                   "great_expectations", "openvino", "gensim", "scipy"}
                                  & set(sys.modules))}))
"""
GLUE = {
    "assets.py",
    "vertical.py",
    "alerting.py",
    "automation.py",
    "building.py",
    "conditions.py",
    "definitions.py",
    "io_managers.py",
    "launcher.py",
    "policies.py",
    "project.py",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VERTICAL_")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_location_loads_light() -> None:
    """Without torch and its like, which would take most of the time."""
    result = run(sys.executable, "-c", LOAD)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["heavy"] == []
    assert found["verticals"] == ["education", "medical", "reviews"]
    assert found["groups"] == ["corpus", "evaluation", "features", "labels", "release", "training"]


def test_commands_that_need_no_graph_load_none() -> None:
    """A rollback is a matter of a moment."""
    light = "import sys, vertical_assets.cli, vertical_assets.release.channels"
    result = run(sys.executable, "-c", f"{light}\nassert 'dagster' not in sys.modules")
    assert result.returncode == 0, result.stderr


def test_definitions_are_valid() -> None:
    result = run(
        str(Path(sys.prefix) / "bin" / "dagster"), "definitions", "validate", "-w", "workspace.yaml"
    )
    assert result.returncode == 0, result.stderr
    assert "All code locations passed validation" in result.stdout + result.stderr


def test_both_front_ends_see_the_same_assets() -> None:
    """`dg` reads pyproject.toml, `dagster` workspace.yaml."""
    result = run(f"{sys.prefix}/bin/dg", "list", "defs", "--json")
    assert result.returncode == 0, result.stderr
    listed = json.loads(result.stdout[result.stdout.index("{") :])
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {f"{v}/release" for v in ("medical", "reviews")} <= keys


def imports_of(file: Path) -> set[str]:
    """Names of modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT))
)
def test_rules_of_the_house(file: Path) -> None:
    imports = imports_of(file)
    place = file.relative_to(PACKAGE)
    if any(name.split(".")[0] == "dagster" for name in imports):
        assert file.name in GLUE or place.parts[0] == "defs", "dagster is imported outside the glue"
    order = ["store", *(stage.__name__.split(".")[1] for stage in STAGES)]
    if place.parts[0] in order:
        later = order[order.index(place.parts[0]) + 1 :]
        for name in imports:
            parts = name.split(".")
            if parts[0] == "vertical_assets" and len(parts) > 1:
                assert parts[1] not in later, f"{name} is a later stage"
                same = parts[1] == place.parts[0]
                assert parts[-1] != "assets" or same, f"{name} is another stage's glue"
    assert len(file.read_text().splitlines()) <= 450


PRELOADED = """
import json
import vertical_assets.preloaded
from vertical_assets.definitions import loaded, project_folder
known = loaded.cache_info().currsize
print(json.dumps(known and loaded(project_folder()).has_resolved_repository_def()))
"""


def test_steps_are_forked_from_a_server_that_knows_the_definitions(tmp_path: Path) -> None:
    """Also from one that can't load them: the step then says why."""
    assert "vertical_assets.preloaded" in automation.PRELOADED
    assert json.loads(run(sys.executable, "-c", PRELOADED).stdout) is True
    absent = {"VERTICAL_PROJECT": str(tmp_path / "nothing")}
    result = subprocess.run(
        [sys.executable, "-c", PRELOADED], cwd=ROOT, env={**os.environ, **absent}, timeout=120
    )
    assert result.returncode == 0
