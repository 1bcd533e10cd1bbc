"""The asset of the baselines: labeled_set -> baselines."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import ALL_CORES, stored
from vertical_assets.training.planning.assets import STAGE

VERSION = "1"


def baseline_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """What models without a network say, beside the vertical's own."""

    @dg.asset(
        **spec.asset(
            STAGE,
            "baselines",
            version=VERSION,
            reads=["task", "language", "evaluate.xgboost", "seed"],
            kinds={"scikitlearn", "parquet"},
        ),
        ins={"labeled_set": dg.AssetIn([spec.name, "labeled_set"])},
        pool=ALL_CORES,
    )
    def baselines(labeled_set: Table):
        """What models without a network, by the kind of the task, say about the held-out items
        (SPEC E4).
        """
        from vertical_assets.labels.splits import TRAIN, held_out, items_of
        from vertical_assets.store.contracts import PREDICTIONS
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.baselines.tables import baselines_table

        labeled = labeled_set.read()
        table = baselines_table(items_of(labeled, TRAIN), held_out(labeled), spec)
        return stored(stage_table(store_root(), PREDICTIONS, table.to_batches(), spec.sensitive))

    return [baselines]
