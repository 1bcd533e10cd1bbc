"""Assets of the release: quantized_artifact."""

import tempfile
from pathlib import Path

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, stored

STAGE, VERSION = "release", "1"
AGREEMENT_WARN = 0.98  # share of equal answers under which INT8 changed more than it should


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The release assets of one vertical."""
    key = [spec.name, "quantized_artifact"]

    @dg.asset(
        **spec.asset(
            STAGE,
            "quantized_artifact",
            version=VERSION,
            reads=["quantize", "model.max_tokens", "task"],
            kinds={"openvino", "int8"},
        ),
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in ("finetuned_ckpt", "labeled_set", "predictions")
        },
        deps=[[spec.name, "eval_report"]],
        check_specs=[
            dg.AssetCheckSpec(
                "f1_drop",
                asset=key,
                blocking=True,
                description=f"Test macro F1 falls by at most {spec.quantize.max_f1_drop} "
                "against the float model.",
            ),
            dg.AssetCheckSpec(
                "argmax_agreement",
                asset=key,
                description=f"Share of equal answers of INT8 and float >= {AGREEMENT_WARN}.",
            ),
        ],
    )
    def quantized_artifact(
        context: dg.AssetExecutionContext,
        finetuned_ckpt: Directory,
        labeled_set: Table,
        predictions: Table,
    ):
        """The model in INT8 with tokenizer, labels and checksums; predicts without torch (SPEC P3,
        P4).
        """
        from vertical_assets.evaluation.metrics import macro_f1
        from vertical_assets.labels.splits import TEST, TRAIN, items_of
        from vertical_assets.release.predictor import Predictor
        from vertical_assets.release.quantization import quantize
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.checkpoints import manifest_of

        labeled = labeled_set.read()
        inputs = {
            "finetuned_ckpt": finetuned_ckpt.path.name,
            "labeled_set": labeled_set.version,
        }
        manifest = manifest_of(spec, "quantized_artifact", inputs, {})
        said = [row for row in predictions.read().to_pylist() if row["split"] == TEST]
        texts = dict(zip(labeled["item_id"].to_pylist(), labeled["text"].to_pylist(), strict=True))
        with tempfile.TemporaryDirectory() as folder:
            sizes = quantize(
                finetuned_ckpt.path, items_of(labeled, TRAIN).texts, spec, Path(folder), manifest
            )
            answers = Predictor(Path(folder)).predict([texts[row["item_id"]] for row in said])
            staged = stage_directory(store_root(), Path(folder))
        gold = [row["label"] for row in said]
        before = macro_f1(gold, [row["predicted"] for row in said], spec.labels)
        after = macro_f1(gold, [answer["label"] for answer in answers], spec.labels)
        equal = sum(a["label"] == row["predicted"] for a, row in zip(answers, said, strict=True))
        agreement = equal / len(said)
        ratio = sizes["float_bytes"] / sizes["int8_bytes"]
        samples = [
            {"text": texts[row["item_id"]], "gold": row["label"], **answer}
            for row, answer in list(zip(said, answers, strict=True))[:5]
        ]
        return stored(
            staged,
            checks=[
                check(
                    "f1_drop",
                    before - after <= spec.quantize.max_f1_drop,
                    f"test macro F1 {before:.4f} in float, {after:.4f} in INT8",
                    float_f1=before,
                    int8_f1=after,
                ),
                check(
                    "argmax_agreement",
                    agreement >= AGREEMENT_WARN,
                    f"{agreement:.2%} of {len(said)} answers are equal",
                    severity=dg.AssetCheckSeverity.WARN,
                    agreement=agreement,
                ),
            ],
            metadata={
                **sizes,
                "size_ratio": ratio,
                "f1_macro": after,
                "samples": dg.MetadataValue.md(markdown_table(samples)),
            },
        )

    return [quantized_artifact]
