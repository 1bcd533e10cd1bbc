"""Assets of the evaluation of a generation vertical: predictions -> eval_report.

Its graph ends here: there is no `quantized_artifact` of a decoder.
"""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import (
    ALL_CORES,
    check,
    gate_checks,
    markdown_table,
    picture,
    stored,
    texts_table,
)

VERSION = "1"
SHOWN = 12


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """The evaluation assets of a generation vertical."""
    report_key = [spec.name, "eval_report"]

    @dg.asset(
        **spec.asset(
            stage,
            "predictions",
            version=VERSION,
            reads=["generate", "instruct.system", "model.max_tokens", "seed"],
            kinds={"pytorch", "parquet"},
        ),
        ins={
            "finetuned_ckpt": dg.AssetIn([spec.name, "finetuned_ckpt"]),
            "labeled_set": dg.AssetIn([spec.name, "labeled_set"]),
        },
        check_specs=[
            dg.AssetCheckSpec(
                "answers_finish",
                asset=[spec.name, "predictions"],
                description="Warns where answers run into generate.max_new_tokens.",
            )
        ],
        pool=ALL_CORES,
    )
    def predictions(finetuned_ckpt: Directory, labeled_set: Table):
        """The model's answer to every held-out prompt, beside the source's; the figures of the
        report can be traced to these rows.
        """
        from vertical_assets.labels.generation.pairs import Pairs
        from vertical_assets.labels.splits import held_out
        from vertical_assets.store.contracts import GENERATED
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.generation.sampling import generate_answers, likelihoods
        from vertical_assets.training.generation.tables import generated_table

        held = held_out(labeled_set.read())
        asked = Pairs(held["prompt"].to_pylist(), held["text"].to_pylist())
        answers = generate_answers(finetuned_ckpt.path, asked.prompts, spec)
        finished = [answer.finished for answer in answers]
        table = generated_table(
            held,
            [answer.text for answer in answers],
            finished,
            likelihoods(finetuned_ckpt.path, asked, spec),
        )
        return stored(
            stage_table(store_root(), GENERATED, table.to_batches(), spec.sensitive),
            checks=[
                check(
                    "answers_finish",
                    all(finished),
                    f"{finished.count(False)} of {len(finished)} answers were cut at "
                    f"{spec.generate.max_new_tokens} tokens",
                    severity=dg.AssetCheckSeverity.WARN,
                )
            ],
        )

    @dg.asset(
        **spec.asset(
            stage,
            "eval_report",
            version=VERSION,
            reads=["evaluate.rouge_l", "language", "seed"],
            kinds={"parquet"},
        ),
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in ("predictions", "baselines", "labeled_set")
        },
        check_specs=[
            dg.AssetCheckSpec(
                "beats_baseline",
                asset=report_key,
                description="Test ROUGE-L above the answer of the nearest training prompt (SPEC "
                "E4); warns below.",
            ),
            dg.AssetCheckSpec(
                "rouge_l_good",
                asset=report_key,
                description=f"Test ROUGE-L >= {spec.evaluate.rouge_l} (SPEC E2); warns below.",
            ),
        ],
        required_resource_keys={"mlflow"},
    )
    def eval_report(
        context: dg.AssetExecutionContext, predictions: Table, baselines: Table, labeled_set: Table
    ):
        """ROUGE, BLEU, chrF and perplexity of the model and of its baseline, on validation and
        test, by type of question, with 95 % intervals (SPEC E2, E4).
        """
        import pyarrow.compute as pc

        from vertical_assets.evaluation.generation.report import BASELINE, MAIN, gates_of, report_of
        from vertical_assets.evaluation.generation.text_metrics import rouge_scores
        from vertical_assets.evaluation.metrics import figures_of
        from vertical_assets.evaluation.names import FINETUNED
        from vertical_assets.evaluation.pages import comparison, with_interval
        from vertical_assets.labels.splits import TEST
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import EVALUATION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracked

        tables = {FINETUNED: predictions.read(), BASELINE: baselines.read()}
        labeled = labeled_set.read()
        ids, clusters = (labeled[name].to_pylist() for name in ("item_id", "cluster_id"))
        groups = dict(zip(ids, clusters, strict=True))
        report = report_of(tables, spec.language, spec.spaced, groups=groups, seed=spec.seed)
        figures = {model: figures_of(report, model, TEST) for model in tables}
        shares = {
            model: {name: value for name, value in each.items() if name != "perplexity"}
            for model, each in figures.items()
        }
        with tracked(
            context.resources.mlflow, spec, "eval_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics({f"test_{name}": value for name, value in figures[FINETUNED].items()})
        ours, theirs = (table.filter(pc.equal(table["split"], TEST)) for table in tables.values())
        by_type = [
            {
                "model": row["model"],
                "type": row["label"],
                "metric": row["metric"],
                "value": with_interval(row),
                "answers": row["support"],
            }
            for row in report.to_pylist()
            if row["split"] == TEST and row["label"] != "all"
        ]
        answers = [
            {
                "prompt": row["prompt"],
                "reference": row["reference"],
                "generated": row["generated"],
                "nearest prompt's": nearest,
                "ROUGE-L": score,
            }
            for row, nearest, score in zip(
                ours.to_pylist(),
                theirs["generated"].to_pylist(),
                rouge_scores(ours, spec.spaced),
                strict=True,
            )
        ]
        return stored(
            stage_table(store_root(), EVALUATION, report.to_batches(), spec.sensitive),
            checks=gate_checks(gates_of(report, spec)),
            metadata={
                "test_rouge_l": figures[FINETUNED][MAIN],
                "test_perplexity": figures[FINETUNED]["perplexity"],
                "test_items": len(ours),
                "comparison": dg.MetadataValue.md(
                    markdown_table(comparison(report, TEST, spec.task.kind))
                ),
                "by_type": dg.MetadataValue.md(markdown_table(by_type)),
                "bars": picture(bars(shares, "test"), "model and baseline"),
                "answers": texts_table(
                    spec, answers[:: max(1, len(answers) // SHOWN)][:SHOWN], cell=200
                ),
            },
        )

    return [predictions, eval_report]
