"""What the built vertical's model is judged by, as it is stored."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.release import channels
from vertical_assets.release.files import DESCRIPTION, OPENVINO, OPENVINO_WEIGHTS, checksums
from vertical_assets.release.promotion.approvals import Approval, Approvals
from vertical_assets.release.promotion.frozen import TRAINED_ON, as_bytes, trained_on
from vertical_assets.release.promotion.gates import Stored, recorded_verdicts
from vertical_assets.release.promotion.promote import Promoted, promote
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table
from vertical_assets.store.versions import MANIFEST
from vertical_assets_tests.conftest import Project, tiny

INT8_TABLE = re.compile(r'<data element_type="i8" shape="[^"]+" offset="(\d+)" size="(\d+)"')


@dataclass(frozen=True)
class Judged:
    """The built vertical as `promote` reads it, and a store of its own to release into."""

    stored: Stored
    baselines: pa.Table
    spec: VerticalSpec
    root: UPath


def manifest_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    return found


def stored_of(project: Project) -> Stored:
    """What the asset `release` hands over."""
    names = {
        "predictions": "predictions",
        "evaluation": "eval_report",
        "robustness": "robustness_report",
        "slices": "slices",
        "agreement": "agreement_report",
        "verdicts": "batch_verdicts",
        "labeled": "labeled_set",
    }
    tables = {field: Table((UPath(project.current(name)),)) for field, name in names.items()}
    artifact, model = project.current("quantized_artifact"), project.current("finetuned_ckpt")
    versions = {names[field]: table.version for field, table in tables.items()}
    return Stored(
        artifact,
        manifest_of(artifact),
        manifest_of(model),
        {"quantized_artifact": artifact.name, "finetuned_ckpt": model.name, **versions},
        **{field: table.read() for field, table in tables.items()},
    )


@pytest.fixture
def judged(built: Project, tmp_path: Path) -> Judged:
    """The built model, and an empty store."""
    root = UPath(tmp_path / "store")
    root.mkdir()
    baselines = Table((UPath(built.current("baselines")),)).read()
    return Judged(stored_of(built), baselines, VerticalSpec(**tiny()), root)


def altered(artifact: Path, to: Path, change: Callable[[Path], None]) -> Path:
    """A copy of an artifact with a change, and checksums that say it is meant so."""
    shutil.copytree(artifact, to)
    change(to)
    (to / MANIFEST).write_text(json.dumps({**manifest_of(to), "checksums": checksums(to)}))
    return to


def short_sighted(artifact: Path) -> None:
    """Reads hardly anything of a text: a worse model."""
    description = json.loads((artifact / DESCRIPTION).read_text())
    (artifact / DESCRIPTION).write_text(json.dumps({**description, "max_tokens": 3}))


def ruined(artifact: Path) -> None:
    """INT8 weights without meaning: zeros."""
    weights = bytearray((artifact / OPENVINO_WEIGHTS).read_bytes())
    for place, size in INT8_TABLE.findall((artifact / OPENVINO).read_text()):
        weights[int(place) : int(place) + int(size)] = bytes(int(size))
    (artifact / OPENVINO_WEIGHTS).write_bytes(weights)


@contextmanager
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Works in a folder, as a user would in a project."""
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        for name in ("VERTICAL_STORE", "VERTICAL_DATA", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        yield


def promoted(
    judged: Judged,
    stored: Stored | None = None,
    said: Sequence[Approval] = (),
    more: Sequence[tuple[str, str, str]] = (),
) -> Promoted:
    records = recorded_verdicts(more)
    approvals = Approvals(tuple(said))
    given = stored or judged.stored
    return promote(judged.root, given, judged.baselines, records, approvals, judged.spec)


def now(judged: Judged) -> channels.Channels:
    return channels.read_channels(channels.releases_folder(judged.root, "tiny"))


def put_champion(judged: Judged, artifact: Path, seen: pa.Table | None = None) -> str:
    """Another artifact as the champion; `seen` is the labelled set that it was trained on."""
    rows = judged.stored.labeled if seen is None else seen
    files: dict[str, str | bytes] = {"README.md": "", TRAINED_ON: as_bytes(trained_on(rows))}
    digest = channels.store_release(judged.root, "tiny", artifact, files)
    folder = channels.releases_folder(judged.root, "tiny")
    channels.set_channel(folder, "champion", digest, "put there by a test")
    return digest


def failed(result: Promoted) -> set[str]:
    return {each.gate.gate for each in result.decision.failed}
