"""Assets of the pre-labels: prelabels."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import markdown_table, picture, stored

VERSION = "1"
RELEASED = "release"  # the asset that is another one once another model answers


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """prelabels."""

    @dg.asset(
        **spec.asset(
            stage,
            "prelabels",
            version=VERSION,
            reads=["annotation.tasks.pool", "task", "seed"],
            kinds={"parquet"},
        ),
        ins={name: dg.AssetIn([spec.name, name]) for name in ("dedup_corpus", "labeled_set")},
        deps=[[spec.name, RELEASED]],
    )
    def prelabels(dedup_corpus: Table, labeled_set: Table):
        """What the champion says of documents that have no gold label yet (SPEC D7)."""
        from vertical_assets.plots import histogram
        from vertical_assets.release.channels import releases_folder
        from vertical_assets.release.files import DamagedArtifactError
        from vertical_assets.release.prelabels.prelabels import prelabel
        from vertical_assets.store.tables import stage_table
        from vertical_assets.store.task_contracts import PRELABELS

        try:
            said = prelabel(
                dedup_corpus.batches(["doc_id", "text"]),
                labeled_set.read(["item_id"]),
                releases_folder(store_root(), spec.name),
                spec,
            )
        except DamagedArtifactError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        sure = [each for each in said.table["confidence"].to_pylist() if each is not None]
        by_label = said.table.group_by("label").aggregate([([], "count_all")])
        return stored(
            stage_table(store_root(), PRELABELS, said.table.to_batches(), spec.sensitive),
            metadata={
                "champion": said.champion or "none",
                **({"nothing_because": said.reason} if said.reason else {}),
                **(
                    {"labels": dg.MetadataValue.md(markdown_table(by_label.to_pylist()))}
                    if spec.task.kind == "classification" and said.table.num_rows
                    else {}
                ),
                **(
                    {"confidence": picture(histogram(sure, "confidence"), "confidence")}
                    if sure
                    else {}
                ),
            },
        )

    return [prelabels]
