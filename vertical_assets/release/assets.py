"""Assets of the release: quantized_artifact."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, stored

STAGE, VERSION = "release", "1"
AGREEMENT_WARN = 0.98  # share of equal answers under which INT8 changed more than it should

# What INT8 may not make worse, and how it is called.
SCORES = {
    "classification": ("val_f1_macro", "macro F1"),
    "multi_label": ("val_f1_macro", "macro F1"),
    "entities": ("val_span_f1", "span F1"),
    "question_answering": ("val_answer_f1", "answer F1"),
    "regression": ("val_mae", "mean absolute error"),
}


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The release assets of one vertical; none of a generation vertical, whose decoder is used as
    `finetuned_ckpt`.
    """
    if spec.task.kind == "generation":
        return []
    key = [spec.name, "quantized_artifact"]
    kind = spec.task.kind
    score, title = SCORES[kind]
    by_error = kind == "regression"

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
                description=f"Test {title} rises by at most this share of it: "
                f"{spec.quantize.max_f1_drop}."
                if by_error
                else f"Test {title} falls by at most {spec.quantize.max_f1_drop} "
                "against the float model.",
            ),
            *(
                []
                if by_error
                else [
                    dg.AssetCheckSpec(
                        "argmax_agreement",
                        asset=key,
                        description=f"Share of equal answers of INT8 and float >= {AGREEMENT_WARN}",
                    )
                ]
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
        import pyarrow.compute as pc

        from vertical_assets.inference.answers import Answer
        from vertical_assets.labels.splits import TEST, TRAIN, items_of
        from vertical_assets.labels.targets import targets_of
        from vertical_assets.release.artifacts import answers_by, make_artifact
        from vertical_assets.release.task_quantization import QuantizationError
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.loop.checkpoints import manifest_of
        from vertical_assets.training.modules.scores import scores

        labeled = labeled_set.read()
        inputs = {
            "finetuned_ckpt": finetuned_ckpt.path.name,
            "labeled_set": labeled_set.version,
        }
        manifest = manifest_of(spec, "quantized_artifact", inputs, {})
        test_set, said = items_of(labeled, TEST), predictions.read()
        said = said.filter(pc.equal(said["split"], TEST))
        asked = zip(said["item_id"].to_pylist(), said["question"].to_pylist(), strict=True)
        found = dict(zip(asked, targets_of(said, kind, "predicted_"), strict=True))
        questions: Sequence[str | None] = test_set.questions or [None] * len(test_set.texts)
        exact = [Answer(found[key], None) for key in zip(test_set.item_ids, questions, strict=True)]
        with tempfile.TemporaryDirectory() as folder:
            artifact = Path(folder)
            try:
                sizes = make_artifact(
                    finetuned_ckpt.path, items_of(labeled, TRAIN), spec, artifact, manifest
                )
            except QuantizationError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            answers = answers_by(artifact, test_set)
            staged = stage_directory(store_root(), artifact)
        before, after = (
            scores(kind, test_set.labels, each, spec.labels)[score] for each in (exact, answers)
        )
        worse = (after - before) / max(before, 1e-9) if by_error else before - after
        equal = sum(a.target == b.target for a, b in zip(exact, answers, strict=True))
        agreement = equal / len(answers)
        agreed = (
            []
            if by_error
            else [
                check(
                    "argmax_agreement",
                    agreement >= AGREEMENT_WARN,
                    f"{agreement:.2%} of {len(answers)} answers are equal",
                    severity=dg.AssetCheckSeverity.WARN,
                    agreement=agreement,
                )
            ]
        )
        samples = [
            {"text": text, "gold": gold, "answer": each.target, "confidence": each.confidence}
            for text, gold, each in zip(test_set.texts, test_set.labels, answers, strict=True)
        ][:5]
        return stored(
            staged,
            checks=[
                check(
                    "f1_drop",
                    worse <= spec.quantize.max_f1_drop,
                    f"test {title} {before:.4f} in float, {after:.4f} in INT8",
                    float_score=before,
                    int8_score=after,
                ),
                *agreed,
            ],
            metadata={
                **sizes,
                "size_ratio": sizes["float_bytes"] / sizes["int8_bytes"],
                score.removeprefix("val_"): after,
                "samples": dg.MetadataValue.md(markdown_table(samples)),
            },
        )

    return [quantized_artifact]
