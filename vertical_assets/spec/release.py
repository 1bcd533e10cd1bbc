"""Spec of the release: quantization and promotion (SPEC P3, P4, O3)."""

from pydantic import Field

from vertical_assets.spec.section import Fraction, Positive, Strict


class Quantize(Strict):
    """INT8 quantization (SPEC P3, P4)."""

    calibration_texts: Positive = 300
    max_f1_drop: Fraction = Field(default=0.01, description="Macro F1 may fall by one point.")
