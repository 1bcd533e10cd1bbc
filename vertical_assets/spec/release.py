"""Spec of the release: quantization and promotion (SPEC P3, P4, O3)."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vertical_assets.spec.section import Fraction, Positive, Strict

Form = Literal["openvino", "onnx", "tensorrt"]
# INT8 form -> the gate of what it changed against the float model; TensorRT's is float.
DROPS: dict[Form, str] = {"openvino": "f1_drop", "onnx": "onnx_f1_drop"}


class Quantize(Strict):
    """INT8 quantization (SPEC P3, P4)."""

    calibration_texts: Positive = Field(
        default=300, description="Training texts that the ranges of activations are taken from."
    )
    forms: Annotated[tuple[Form, ...], Field(min_length=1)] = Field(
        default=("openvino",),
        description="openvino: INT8 by NNCF, the fastest here, what is served; onnx: dynamic INT8 "
        "for ONNX Runtime, the same size again; tensorrt: float ONNX for trtexec, four times it.",
    )
    embeddings: Literal["int8", "int4"] = Field(
        default="int8",
        description="int4: tables of embeddings in 4-bit groups, where vocabulary is most of the "
        "size.",
    )
    smooth_quant: float = Field(
        default=0.95,
        ge=0.0,
        le=1.0,
        description="Share of the activations' outliers that weights take over (SmoothQuant's "
        "alpha). NNCF's default; it measured best of 0.3, 0.5 and 0.95 on `medical`.",
    )
    max_f1_drop: Fraction = Field(default=0.01, description="Macro F1 may fall by one point.")
    agreement: Fraction = Field(
        default=0.98,
        description="Share of answers that are the float model's below which the artifact warns.",
    )
    size_ratio: float = Field(
        default=6.0,
        gt=0.0,
        description="Float weights of the base model as found through the artifact's (SPEC P3: 300 "
        "MB to 50 MB); warns below. INT8 alone gives 4 at most: the rest is layers, vocabulary "
        "and `embeddings: int4`.",
    )

    @field_validator("forms")
    @classmethod
    def _openvino_is_served(cls, forms: tuple[Form, ...]) -> tuple[Form, ...]:
        if "openvino" not in forms:
            raise ValueError(
                "quantize.forms must name 'openvino', the form that is checked and served; add it"
            )
        if len(set(forms)) < len(forms):
            raise ValueError("quantize.forms names a form twice; remove one")
        return forms


# Gates that only warn in their reports, and blocking ones that are a matter of judgement.
Warns = Literal["argmax_agreement", "f1_excellent", "fgsm_drop", "noise_drop", "size_ratio"]
Waivable = Literal["beats_baseline", "worst_slice"]


class Promote(Strict):
    """When a new model takes the place of the one that answers (SPEC O3)."""

    min_gain: float = Field(
        default=0.03,
        ge=0.0,
        description="The main metric has to be better by more than this share of the champion's.",
    )
    significance: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.05,
        description="Largest p of the gain by the paired bootstrap; 1 asks for no significance.",
    )
    gates: tuple[Warns, ...] = Field(
        default=(),
        description="Gates that warn in their reports and still have to hold for a release.",
    )
    waived: tuple[Waivable, ...] = Field(
        default=(),
        description="Blocking gates that a release does not depend on here; they are still judged, "
        "and shown on the card.",
    )
    approval: Literal["none", "required"] = Field(
        default="none",
        description="required: a person decides, by `vertical-assets approve` or approvals.jsonl.",
    )
