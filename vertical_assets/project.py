"""The project that a command works in: its root, its verticals and its Dagster instance."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vertical_assets.building import Target


def enter_project() -> None:
    """Goes to the project's root, so that relative paths hold."""
    here = Path.cwd()
    root = next((p for p in (here, *here.parents) if (p / "dagster.yaml").exists()), None)
    if "DAGSTER_HOME" not in os.environ:
        if root is None:
            raise click.ClickException(
                "no dagster.yaml in this folder or above it; run this inside the project, "
                "or set DAGSTER_HOME"
            )
        os.environ["DAGSTER_HOME"] = str(root)
    if root is not None:
        os.chdir(root)


def open_targets(vertical: str | None = None) -> "list[Target]":
    """The named vertical, or all."""
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    from vertical_assets.building import PID_VARIABLE, Target
    from vertical_assets.definitions import project_folder
    from vertical_assets.vertical import VerticalComponent

    enter_project()
    os.environ[PID_VARIABLE] = str(os.getpid())

    tree = dg.ComponentTree.for_project(project_folder())
    specs = [component.spec for component in tree.get_all_components(of_type=VerticalComponent)]
    chosen = [spec for spec in specs if vertical in (None, spec.name)]
    if not chosen:
        names = ", ".join(sorted(spec.name for spec in specs))
        raise click.ClickException(f"there is no vertical {vertical!r}; there are: {names}")
    repository = ReconstructableRepository.for_module(
        "vertical_assets.definitions", "defs", working_directory=str(Path.cwd())
    )
    graph = repository.get_definition().asset_graph
    instance = dg.DagsterInstance.get()
    # Killed while it made its database, Dagster finds the file there and never makes the tables.
    instance.reindex()
    return [Target(spec, graph, repository, instance) for spec in chosen]
