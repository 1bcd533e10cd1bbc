"""Assets of evaluation: predictions -> eval_report."""

import dagster as dg

from vertical_assets.evaluation.generation.assets import build_assets as build_generation
from vertical_assets.evaluation.names import BASELINES, FINETUNED, MAIN_METRIC, TITLES
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, picture, stored

STAGE, VERSION = "evaluation", "1"
ERRORS_SHOWN = 15


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The evaluation assets of one vertical."""
    if spec.task.kind == "generation":
        return build_generation(spec, STAGE)
    report_key = [spec.name, "eval_report"]
    kind = spec.task.kind
    metric, baseline_name = MAIN_METRIC[kind], BASELINES[kind]
    title = TITLES[metric]
    report_checks = [
        dg.AssetCheckSpec(
            "beats_baseline",
            asset=report_key,
            description=f"Test {title} above that of the baseline, {baseline_name} (SPEC E4).",
        )
    ]
    if "f1" in metric:
        report_checks.append(
            dg.AssetCheckSpec(
                "f1_excellent",
                asset=report_key,
                description=f"Test {title} >= {spec.evaluate.f1} (SPEC E1); warns below.",
            )
        )

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
        from vertical_assets.training.answering import predict
        from vertical_assets.training.predictions import predictions_of

        held = held_out(labeled_set.read())
        questions = held["question"].to_pylist() if kind == "question_answering" else None
        answers = predict(finetuned_ckpt.path, held["text"].to_pylist(), spec, questions)
        table = predictions_of(
            held, kind, [each.target for each in answers], [each.confidence for each in answers]
        )
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
        check_specs=report_checks,
        required_resource_keys={"mlflow"},
    )
    def eval_report(
        context: dg.AssetExecutionContext, predictions: Table, baselines: Table, labeled_set: Table
    ):
        """Metrics of the model and of its baselines, by the kind of the task, on validation and
        test (SPEC E1, E4).
        """
        import pyarrow.compute as pc

        from vertical_assets.evaluation.metrics import comparison, report_of, value_of
        from vertical_assets.evaluation.pages import pictures_of, worst_errors
        from vertical_assets.labels.splits import TEST, TRAIN, items_of
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import EVALUATION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracked

        ours, labeled = predictions.read(), labeled_set.read()
        texts = dict(zip(labeled["item_id"].to_pylist(), labeled["text"].to_pylist(), strict=True))
        targets = items_of(labeled, TRAIN).labels
        report = report_of(ours, baselines.read(), targets, spec.labels, kind, texts)
        score, baseline = (value_of(report, m, TEST, metric) for m in (FINETUNED, baseline_name))
        compared = comparison(report, TEST, kind)
        with tracked(
            context.resources.mlflow, spec, "eval_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics(
                {
                    f"test_{row['metric']}": row[FINETUNED]
                    for row in compared
                    if row[FINETUNED] is not None
                }
            )
        tested = ours.filter(pc.equal(ours["split"], TEST))
        gain = score - baseline
        checks = [
            check(
                "beats_baseline",
                gain > 0,
                f"test {title} {score:.4f}, baseline {baseline:.4f}, gain {gain:+.4f}"
                + ("" if gain > 0 else ": the model is no better than the baseline"),
                finetuned=score,
                baseline=baseline,
            )
        ]
        if "f1" in metric:
            checks.append(
                check(
                    "f1_excellent",
                    score >= spec.evaluate.f1,
                    f"test {title} {score:.4f}, excellent from {spec.evaluate.f1}",
                    severity=dg.AssetCheckSeverity.WARN,
                    score=score,
                )
            )
        return stored(
            stage_table(store_root(), EVALUATION, report.to_batches(), spec.sensitive),
            checks=checks,
            metadata={
                f"test_{metric}": score,
                "test_items": len(tested),
                "labels_from": "simulated annotators"
                if spec.annotation.simulate
                else "people's annotations",
                "comparison": dg.MetadataValue.md(markdown_table(compared)),
                "bars": picture(
                    bars(
                        {
                            model: {
                                row["metric"]: row[model]
                                for row in compared
                                if None not in (row[FINETUNED], row[baseline_name])
                            }
                            for model in (FINETUNED, baseline_name)
                        },
                        "test",
                    ),
                    "model and baseline",
                ),
                **{
                    name: picture(png, title_)
                    for name, (title_, png) in pictures_of(
                        tested, report, TEST, spec.labels, kind
                    ).items()
                },
                "surest_errors": dg.MetadataValue.md(
                    markdown_table(worst_errors(tested, texts, kind, ERRORS_SHOWN))
                ),
            },
        )

    return [predictions, eval_report]
