"""aggregation: one target per item from what its annotators said (SPEC D8)."""

from vertical_assets.labels.aggregation.aggregate import (
    AGGREGATED,
    DEFAULT_TOLERANCE,
    TARGETS,
    aggregate,
    majority,
)
from vertical_assets.labels.aggregation.quality import annotator_quality

__all__ = [
    "AGGREGATED",
    "DEFAULT_TOLERANCE",
    "TARGETS",
    "aggregate",
    "annotator_quality",
    "majority",
]
