"""Assets of evaluation: predictions -> eval_report."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, picture, stored

STAGE, VERSION = "evaluation", "1"
ERRORS_SHOWN = 15


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The evaluation assets of one vertical."""
    report_key = [spec.name, "eval_report"]

    @dg.asset(
        **spec.asset(
            STAGE,
            "predictions",
            version=VERSION,
            reads=["model.max_tokens", "task"],
            kinds={"pytorch", "parquet"},
        ),
        ins={
            "finetuned_ckpt": dg.AssetIn([spec.name, "finetuned_ckpt"]),
            "labeled_set": dg.AssetIn([spec.name, "labeled_set"]),
        },
    )
    def predictions(finetuned_ckpt: Directory, labeled_set: Table):
        """What the float model says about every held-out item; the figures of the reports can be
        traced to these rows.
        """
        from vertical_assets.labels.splits import held_out
        from vertical_assets.store.contracts import PREDICTIONS
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.classification import predict_probabilities
        from vertical_assets.training.predictions import predictions_table

        held = held_out(labeled_set.read())
        probabilities = predict_probabilities(finetuned_ckpt.path, held["text"].to_pylist(), spec)
        table = predictions_table(held, probabilities, spec.labels)
        return stored(stage_table(store_root(), PREDICTIONS, table.to_batches(), spec.sensitive))

    @dg.asset(
        **spec.asset(
            STAGE,
            "eval_report",
            version=VERSION,
            reads=["evaluate", "task"],
            kinds={"parquet", "scikitlearn"},
        ),
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in ("predictions", "baselines", "labeled_set")
        },
        check_specs=[
            dg.AssetCheckSpec(
                "beats_baseline",
                asset=report_key,
                description="Test macro F1 above logistic regression on TF-IDF (SPEC E4).",
            ),
            dg.AssetCheckSpec(
                "f1_excellent",
                asset=report_key,
                description=f"Test macro F1 >= {spec.evaluate.f1} (SPEC E1); warns below.",
            ),
        ],
        required_resource_keys={"mlflow"},
    )
    def eval_report(
        context: dg.AssetExecutionContext, predictions: Table, baselines: Table, labeled_set: Table
    ):
        """Accuracy, precision, recall and F1 of the model and of its baselines, on validation and
        test (SPEC E1, E4).
        """
        from vertical_assets.evaluation.metrics import (
            BASELINE,
            FINETUNED,
            MAIN,
            comparison,
            confusion,
            report_of,
            value_of,
        )
        from vertical_assets.labels.splits import TEST, TRAIN, items_of
        from vertical_assets.plots import bars, heat_map
        from vertical_assets.store.contracts import EVALUATION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracked

        ours, labeled = predictions.read(), labeled_set.read()
        report = report_of(ours, baselines.read(), items_of(labeled, TRAIN).labels, spec.labels)
        score, baseline = (value_of(report, m, TEST, MAIN) for m in (FINETUNED, BASELINE))
        compared = comparison(report, TEST)
        with tracked(
            context.resources.mlflow, spec, "eval_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics({f"test_{row['metric']}": row[FINETUNED] for row in compared})
        tested = [row for row in ours.to_pylist() if row["split"] == TEST]
        matrix, present = confusion(
            [row["label"] for row in tested], [row["predicted"] for row in tested], spec.labels
        )
        texts = dict(zip(labeled["item_id"].to_pylist(), labeled["text"].to_pylist(), strict=True))
        surest_errors = sorted(
            (row for row in tested if row["label"] != row["predicted"]),
            key=lambda row: -row["confidence"],
        )[:ERRORS_SHOWN]
        gain = score - baseline
        return stored(
            stage_table(store_root(), EVALUATION, report.to_batches(), spec.sensitive),
            checks=[
                check(
                    "beats_baseline",
                    gain > 0,
                    f"test macro F1 {score:.4f}, baseline {baseline:.4f}, gain {gain:+.4f}"
                    + ("" if gain > 0 else ": the model is no better than the baseline"),
                    finetuned=score,
                    baseline=baseline,
                ),
                check(
                    "f1_excellent",
                    score >= spec.evaluate.f1,
                    f"test macro F1 {score:.4f}, excellent from {spec.evaluate.f1}",
                    severity=dg.AssetCheckSeverity.WARN,
                    f1_macro=score,
                ),
            ],
            metadata={
                "test_f1_macro": score,
                "test_items": len(tested),
                "labels_from": "simulated annotators"
                if spec.annotation.simulate
                else "people's annotations",
                "comparison": dg.MetadataValue.md(markdown_table(compared)),
                "bars": picture(
                    bars(
                        {
                            model: {row["metric"]: row[model] for row in compared}
                            for model in (FINETUNED, BASELINE)
                        },
                        "test",
                    ),
                    "model and baseline",
                ),
                "confusion_matrix": picture(
                    heat_map(matrix, present, "predicted", "gold"), "confusion matrix"
                ),
                "surest_errors": dg.MetadataValue.md(
                    markdown_table(
                        [{"text": texts[row["item_id"]], **row} for row in surest_errors]
                    )
                ),
            },
        )

    return [predictions, eval_report]
