"""The code location: everything under `defs/`, of this project or of the one that
`VERTICAL_PROJECT` names (a folder inside a project with its own `[tool.dg.project]`).
"""

import os
from functools import cache
from pathlib import Path

import dagster as dg


def project_folder() -> Path:
    """A folder inside the project whose `defs/` is loaded."""
    return Path(os.environ.get("VERTICAL_PROJECT", Path(__file__).parent))


@cache
def loaded(folder: Path) -> dg.Definitions:
    """The definitions, read once by a process; one that is to see an edit is started anew."""
    return dg.load_from_defs_folder(path_within_project=folder)


@dg.definitions
def defs() -> dg.Definitions:
    return loaded(project_folder())
