"""Assets of evaluation: predictions -> eval_report, slices, errors, relabel_queue, error_report."""

import dagster as dg

from vertical_assets.evaluation.errors.assets import build_assets as build_errors
from vertical_assets.evaluation.generation.assets import build_assets as build_generation
from vertical_assets.evaluation.instruction.assets import build_assets as build_instruction
from vertical_assets.evaluation.names import FINETUNED, MAIN_METRIC, TITLES
from vertical_assets.evaluation.robustness.assets import build_assets as build_robustness
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import (
    ALL_CORES,
    gate_checks,
    markdown_table,
    picture,
    stored,
    texts_table,
)

STAGE, VERSION = "evaluation", "2"
PREDICTIONS_VERSION = "3"
ERRORS_SHOWN = 15


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The evaluation assets of one vertical."""
    if spec.task.kind == "generation":
        return [*build_generation(spec, STAGE), *build_instruction(spec, STAGE)]
    report_key = [spec.name, "eval_report"]
    kind = spec.task.kind
    metric = MAIN_METRIC[kind]
    title = TITLES[metric]
    report_checks = [
        dg.AssetCheckSpec(
            "beats_baseline",
            asset=report_key,
            description=f"Test {title} above that of every baseline (SPEC E4).",
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
            version=PREDICTIONS_VERSION,
            reads=["model.max_tokens", "task"],
            kinds={"pytorch", "parquet"},
        ),
        ins={
            "finetuned_ckpt": dg.AssetIn([spec.name, "finetuned_ckpt"]),
            "labeled_set": dg.AssetIn([spec.name, "labeled_set"]),
        },
        pool=ALL_CORES,
    )
    def predictions(finetuned_ckpt: Directory, labeled_set: Table):
        """What the float model says about every held-out item, and how it sees the text; the
        figures of the reports can be traced to these rows.
        """
        from vertical_assets.labels.splits import held_out
        from vertical_assets.store.contracts import PREDICTIONS
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.answering import predicted_table

        table = predicted_table(finetuned_ckpt.path, held_out(labeled_set.read()), spec)
        return stored(stage_table(store_root(), PREDICTIONS, table.to_batches(), spec.sensitive))

    @dg.asset(
        **spec.asset(
            STAGE,
            "eval_report",
            version=VERSION,
            reads=["evaluate.f1", "task", "seed"],
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
        test, with 95 % intervals and the gains' significance (SPEC E1, E4).
        """
        import pyarrow.compute as pc

        from vertical_assets.evaluation.ablation import ablations_file, shown
        from vertical_assets.evaluation.metrics import figures_of, gates_of, report_of
        from vertical_assets.evaluation.pages import comparison, pictures_of, worst_errors
        from vertical_assets.labels.splits import TEST, TRAIN, VALIDATION, items_of
        from vertical_assets.store.contracts import EVALUATION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracked

        ours, labeled = predictions.read(), labeled_set.read()
        ids = labeled["item_id"].to_pylist()
        texts, groups = (
            dict(zip(ids, labeled[column].to_pylist(), strict=True))
            for column in ("text", "cluster_id")
        )
        targets = items_of(labeled, TRAIN).labels
        report = report_of(
            ours,
            baselines.read(),
            targets,
            spec.labels,
            kind,
            texts,
            groups=groups,
            seed=spec.seed,
        )
        figures = figures_of(report, FINETUNED, TEST)
        with tracked(
            context.resources.mlflow, spec, "eval_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics({f"test_{name}": value for name, value in figures.items()})
        ablated = shown(ablations_file(spec.name))
        tested, validated = (
            ours.filter(pc.equal(ours["split"], split)) for split in (TEST, VALIDATION)
        )
        return stored(
            stage_table(store_root(), EVALUATION, report.to_batches(), spec.sensitive),
            checks=gate_checks(gates_of(report, spec)),
            metadata={
                f"test_{metric}": figures.get(metric),
                "test_items": len(tested),
                "labels_from": "simulated annotators"
                if spec.annotation.simulate
                else "people's annotations",
                "comparison": dg.MetadataValue.md(markdown_table(comparison(report, TEST, kind))),
                **{
                    name: picture(png, title_)
                    for name, (title_, png) in pictures_of(
                        tested, report, TEST, spec.labels, kind
                    ).items()
                },
                **({"ablations": dg.MetadataValue.md(markdown_table(ablated))} if ablated else {}),
                # Of the validation split, so that nobody learns the test set.
                "surest_errors": texts_table(
                    spec, worst_errors(validated, texts, kind, ERRORS_SHOWN)
                ),
            },
        )

    return [predictions, eval_report, *build_errors(spec, STAGE), *build_robustness(spec, STAGE)]
