"""Assets of the release: quantized_artifact -> release -> prelabels."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc

from vertical_assets.release.prelabels import assets as prelabels
from vertical_assets.release.promotion.assets import build_assets as build_release
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.release import DROPS
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import ALL_CORES, gate_checks, stored, texts_table

STAGE, VERSION = "release", "3"


def build_assets(
    spec: VerticalSpec, above: Sequence[dg.AssetsDefinition | dg.AssetSpec] = ()
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The release assets of one vertical; none of a generation vertical, whose graph ends at
    `eval_report` and whose decoder is used as `finetuned_ckpt`.

    Args:
        spec: the vertical.
        above: the assets of the earlier stages, whose recorded gates a release depends on.
    """
    if spec.task.kind == "generation":
        return []
    key = [spec.name, "quantized_artifact"]
    quantize = spec.quantize
    by_error = spec.task.kind == "regression"
    fall = (
        f"Test error rises by at most this share of it: {quantize.max_f1_drop}"
        if by_error
        else f"Test score falls by at most {quantize.max_f1_drop} against the float model"
    )
    drops = [
        dg.AssetCheckSpec(name, asset=key, blocking=True, description=f"{fall}, {form} (SPEC P3).")
        for form, name in DROPS.items()
        if form in quantize.forms
    ]
    agreement = dg.AssetCheckSpec(
        "argmax_agreement",
        asset=key,
        description=f"Share of equal answers of INT8 and float >= {quantize.agreement}; warns "
        "below.",
    )

    @dg.asset(
        **spec.asset(
            STAGE,
            "quantized_artifact",
            version=VERSION,
            reads=["quantize", "model.max_tokens", "model.base", "task", "sources"],
            kinds={"openvino", "int8", *({"onnx"} if len(quantize.forms) > 1 else ())},
        ),
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in ("finetuned_ckpt", "pretrained_ckpt", "labeled_set", "predictions")
        },
        deps=[[spec.name, "eval_report"]],
        pool=ALL_CORES,
        check_specs=[
            *drops,
            *([] if by_error else [agreement]),
            dg.AssetCheckSpec(
                "size_ratio",
                asset=key,
                description="Float weights of the base as found through the artifact's >= "
                f"{quantize.size_ratio} (SPEC P3); warns below.",
            ),
        ],
    )
    def quantized_artifact(
        context: dg.AssetExecutionContext,
        finetuned_ckpt: Directory,
        pretrained_ckpt: Directory,
        labeled_set: Table,
        predictions: Table,
    ):
        """The model in INT8 with tokenizer, labels, thresholds, licences and checksums; predicts
        without torch (SPEC P3, P4).
        """
        from vertical_assets.labels.splits import TRAIN, VALIDATION, items_of
        from vertical_assets.release.artifacts import TrialError, answers_by, judged, trials_of
        from vertical_assets.release.licences import licences_of
        from vertical_assets.release.networks import QuantizationError
        from vertical_assets.release.quantization import quantize as quantized
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.loop.checkpoints import manifest_of

        labeled = labeled_set.read()
        inputs = {
            "finetuned_ckpt": finetuned_ckpt.path.name,
            "labeled_set": labeled_set.version,
        }
        steps = pretrained_ckpt.manifest.get("adaptation") or [{}]
        found = round(1e6 * steps[0].get("megabytes", 0)) or None
        with tempfile.TemporaryDirectory() as folder:
            artifact = Path(folder)
            try:
                sizes = quantized(
                    finetuned_ckpt.path,
                    items_of(labeled, TRAIN),
                    spec,
                    artifact,
                    manifest_of(spec, "quantized_artifact", inputs, {}),
                    licences_of(spec),
                    found,
                )
                trials = trials_of(artifact, predictions.read(), labeled, spec)
            except (QuantizationError, TrialError) as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            # Not of the test set, which nobody is to learn by heart.
            shown = items_of(labeled.filter(pc.equal(labeled["split"], VALIDATION))[:5], VALIDATION)
            samples = [
                {"text": text, "gold": gold, "answer": each.target, "confidence": each.confidence}
                for text, gold, each in zip(
                    shown.texts, shown.labels, answers_by(artifact, shown), strict=True
                )
            ]
            staged = stage_directory(store_root(), artifact)
        gates = judged(trials, sizes, spec)
        return stored(
            staged,
            checks=gate_checks(gates),
            metadata={
                **sizes,
                "size_ratio_to_float_model": sizes["float_bytes"] / sizes["openvino_bytes"],
                "size_ratio_to_float_base": sizes["base_bytes"] / sizes["openvino_bytes"],
                "samples": texts_table(spec, samples),
            },
        )

    return [
        quantized_artifact,
        *build_release(spec, STAGE, [*above, quantized_artifact]),
        *prelabels.build_assets(spec, STAGE),
    ]
