"""agreement: how far annotators agree, by Krippendorff's alpha and beside it (SPEC D8)."""

from vertical_assets.labels.agreement.pictures import Course, alpha_over_batches, pair_heat_map
from vertical_assets.labels.agreement.report import agreement_report, alpha_of, batches_of

__all__ = [
    "Course",
    "agreement_report",
    "alpha_of",
    "alpha_over_batches",
    "batches_of",
    "pair_heat_map",
]
