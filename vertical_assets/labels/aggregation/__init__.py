"""aggregation: one target per item from what its annotators said (SPEC D8)."""

from vertical_assets.labels.aggregation.aggregate import (
    AGGREGATED,
    TARGETS,
    aggregate,
    majority,
    tolerance_of,
)
from vertical_assets.labels.aggregation.quality import annotator_quality

__all__ = [
    "AGGREGATED",
    "TARGETS",
    "aggregate",
    "annotator_quality",
    "majority",
    "tolerance_of",
]
