"""The commands about releases: which there are, who decides about them, and the way back (O3)."""

from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table as Grid

from vertical_assets.console import console
from vertical_assets.project import enter_project, open_targets

if TYPE_CHECKING:
    from upath import UPath


@click.command()
@click.argument("vertical")
@click.option("--to", default=None, help="A release, or its first characters; see `releases`.")
@click.option("--reason", default="rollback", help="Kept in the history of the channels.")
def rollback(vertical: str, to: str | None, reason: str) -> None:
    """Serve VERTICAL's former champion again; the present one is withdrawn."""
    from vertical_assets.release import channels
    from vertical_assets.store import store_root

    enter_project()
    folder = channels.releases_folder(store_root(), vertical)
    try:
        after = channels.rollback(folder, to, reason)
    except channels.ReleaseError as error:
        raise click.ClickException(str(error)) from error
    change = after.history[-1]
    console.print(f"{vertical}: the champion is {after.champion}, it was {change['was']}")
    follow(folder)


def follow(folder: "UPath") -> None:
    """Lets MLflow's aliases follow the channels, which alone say what is served."""
    from vertical_assets.release.promotion.registry import is_there, mirror
    from vertical_assets.training.tracking import tracking_uri

    if not is_there(tracking_uri()):
        return
    try:
        mirror(folder, tracking_uri())
    except Exception as error:  # the channels are set, and they alone count
        console.print(f"[yellow]MLflow's aliases did not follow:[/yellow] {escape(str(error))}")


@click.command()
@click.argument("vertical")
def releases(vertical: str) -> None:
    """List VERTICAL's releases, their channels, and what was changed when and why."""
    from vertical_assets.release import channels
    from vertical_assets.store import store_root

    enter_project()
    folder = channels.releases_folder(store_root(), vertical)
    now = channels.read_channels(folder)
    grid = Grid("release", "channel", title=vertical, title_justify="left")
    stored = channels.released(folder)
    for digest in [*stored, *sorted(set(now.refused) - set(stored))]:
        role = now.role(digest) or ""
        notes = {"challenger": f", {now.split:.0%}", "pending": ", waits for approval"}
        grid.add_row(digest, role + notes.get(role, ""))
    console.print(grid)
    for change in now.history:
        console.print(f"{change['at']} {change['channel']} {change['release']}: {change['reason']}")


@click.command()
@click.argument("vertical")
@click.argument("release", required=False)
@click.option("--by", required=True, help="Who decides.")
@click.option("--reason", required=True, help="Why; kept with the decision.")
def approve(vertical: str, release: str | None, by: str, reason: str) -> None:
    """Approve RELEASE of VERTICAL, by default the one that waits; the next build puts it in place.

    Its gates are read again then: an approval opens no gate.
    """
    say(vertical, release, True, by, reason)


@click.command()
@click.argument("vertical")
@click.argument("release", required=False)
@click.option("--by", required=True, help="Who decides.")
@click.option("--reason", required=True, help="Why; kept with the decision.")
def refuse(vertical: str, release: str | None, by: str, reason: str) -> None:
    """Refuse RELEASE of VERTICAL, by default the one that waits."""
    say(vertical, release, False, by, reason)


def say(vertical: str, release: str | None, approved: bool, by: str, reason: str) -> None:
    """Records what a person says of a release."""
    from vertical_assets.corpus.reading.sources import drop_folder
    from vertical_assets.release import channels
    from vertical_assets.release.promotion import approvals
    from vertical_assets.store import store_root

    spec = open_targets(vertical)[0].spec
    if spec.promote.approval != "required":
        raise click.ClickException(
            f"releases of {vertical} wait for nobody; set 'promote.approval: required'"
        )
    folder = channels.releases_folder(store_root(), vertical)
    try:
        digest = channels.awaited(folder, release)
        if digest == channels.read_channels(folder).champion and not approved:
            raise click.ClickException(
                f"{digest} is the champion; take it out by vertical-assets rollback {vertical}"
            )
        said = approvals.record(
            drop_folder(vertical) / approvals.FILE, digest, approved, by, reason
        )
    except (channels.ReleaseError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    verb = "approved" if approved else "refused"
    console.print(f"{vertical}: {digest} is {verb} by {said.by}: {said.reason}")
    console.print(f"Now run: vertical-assets build {vertical}")
