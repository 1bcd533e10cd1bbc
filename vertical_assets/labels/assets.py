"""Assets of the labels: batches of annotations -> agreement and adjudication -> gold labels.

Each room has its own glue; the graph of a vertical is what its rooms build.
"""

import dagster as dg

from vertical_assets.labels.adjudication import assets as adjudication
from vertical_assets.labels.batches import assets as batches
from vertical_assets.labels.generation import assets as generation
from vertical_assets.labels.gold import assets as gold
from vertical_assets.labels.monthly import assets as monthly
from vertical_assets.labels.studio import assets as studio
from vertical_assets.labels.tasks import assets as tasks
from vertical_assets.spec import VerticalSpec

STAGE = "labels"


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The label assets of one vertical."""
    if spec.task.kind == "generation":
        return [generation.build_labeled_set(spec, STAGE), gold.build_contamination(spec, STAGE)]
    return [
        studio.build_label_standard(spec, STAGE),
        *batches.build_assets(spec, STAGE),
        *adjudication.build_assets(spec, STAGE),
        *gold.build_assets(spec, STAGE),
        *tasks.build_assets(spec, STAGE),
        *monthly.build_assets(spec, STAGE),
    ]
