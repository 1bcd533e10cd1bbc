"""agreement: how far annotators agree, by Krippendorff's alpha and beside it (SPEC D8)."""

from vertical_assets.labels.agreement.pictures import pair_heat_map
from vertical_assets.labels.agreement.report import agreement_report, alpha_of, batches_of

__all__ = [
    "agreement_report",
    "alpha_of",
    "batches_of",
    "pair_heat_map",
]
