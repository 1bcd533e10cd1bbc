"""Measures of agreement, as the gate asks for them."""

from typing import Any

import pyarrow as pa

from vertical_assets.labels import agreement
from vertical_assets.spec import VerticalSpec


def agreement_report(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """AGREEMENT of all annotations."""
    how = (spec.labels, spec.agreement.bootstrap, spec.seed, spec.task.kind)
    return agreement.agreement_report(annotations, *how)


def alpha_of(
    annotations: pa.Table, spec: VerticalSpec
) -> tuple[float | None, float | None, float | None]:
    """Krippendorff's alpha and the ends of its 95 % interval; None where no item has two
    annotators.
    """
    first: dict[str, Any] = agreement_report(annotations, spec).to_pylist()[0]
    return first["value"], first["low"], first["high"]
