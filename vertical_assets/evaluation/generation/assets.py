"""Assets of the evaluation of a generation vertical: predictions -> eval_report.

Its graph ends here: there is no `quantized_artifact` of a decoder.
"""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, picture, stored

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
            reads=["evaluate", "language", "seed"],
            kinds={"parquet"},
        ),
        ins={name: dg.AssetIn([spec.name, name]) for name in ("predictions", "baselines")},
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
    def eval_report(context: dg.AssetExecutionContext, predictions: Table, baselines: Table):
        """ROUGE-L, BLEU, chrF and perplexity of the model and of its baseline, on validation and
        test, by type of question (SPEC E2, E4).
        """
        from vertical_assets.evaluation.generation.text_metrics import (
            BASELINE,
            FINETUNED,
            MAIN,
            gain_interval,
            report_of,
            rouge_scores,
        )
        from vertical_assets.evaluation.metrics import value_of
        from vertical_assets.labels.splits import TEST
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import EVALUATION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracked

        tables = {FINETUNED: predictions.read(), BASELINE: baselines.read()}
        report = report_of(tables, spec.language, spec.spaced)
        score, baseline = (value_of(report, model, TEST, MAIN) for model in tables)
        ours, theirs = (
            [row for row in table.to_pylist() if row["split"] == TEST] for table in tables.values()
        )
        scores, others = (
            dict(zip(table["item_id"].to_pylist(), rouge_scores(table, spec.spaced), strict=True))
            for table in tables.values()
        )
        tested = [row["item_id"] for row in ours]
        gain, low, high = gain_interval(
            [scores[item] for item in tested], [others[item] for item in tested], spec.seed
        )
        figures = [row for row in report.to_pylist() if row["split"] == TEST]
        compared = {
            model: {
                row["metric"]: row["value"]
                for row in figures
                if (row["model"], row["label"]) == (model, "all") and row["metric"] != "perplexity"
            }
            for model in tables
        }
        perplexity = value_of(report, FINETUNED, TEST, "perplexity")
        with tracked(
            context.resources.mlflow, spec, "eval_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics({f"test_{name}": value for name, value in compared[FINETUNED].items()})
            run.log_metric("test_perplexity", perplexity)
        nearest = {row["item_id"]: row["generated"] for row in theirs}
        shown = [
            {
                "prompt": row["prompt"],
                "reference": row["reference"],
                "generated": row["generated"],
                "nearest prompt's": nearest[row["item_id"]],
                "ROUGE-L": scores[row["item_id"]],
            }
            for row in ours[:: max(1, len(ours) // SHOWN)][:SHOWN]
        ]
        return stored(
            stage_table(store_root(), EVALUATION, report.to_batches(), spec.sensitive),
            checks=[
                check(
                    "beats_baseline",
                    gain > 0,
                    f"test ROUGE-L {score:.4f}, nearest prompt's answer {baseline:.4f}, gain "
                    f"{gain:+.4f} (95 % interval {low:+.4f}..{high:+.4f})",
                    severity=dg.AssetCheckSeverity.WARN,
                    finetuned=score,
                    baseline=baseline,
                ),
                check(
                    "rouge_l_good",
                    score >= spec.evaluate.rouge_l,
                    f"test ROUGE-L {score:.4f}, good from {spec.evaluate.rouge_l}",
                    severity=dg.AssetCheckSeverity.WARN,
                    rouge_l=score,
                ),
            ],
            metadata={
                "test_rouge_l": score,
                "test_perplexity": perplexity,
                "test_items": len(ours),
                "rouge_l_gain": gain,
                "rouge_l_gain_low": low,
                "rouge_l_gain_high": high,
                "figures": dg.MetadataValue.md(
                    markdown_table(
                        [
                            {name: row[name] for name in ("model", "label", "metric", "value")}
                            for row in figures
                        ]
                    )
                ),
                "bars": picture(bars(compared, "test"), "model and baseline"),
                "answers": dg.MetadataValue.md(markdown_table(shown, cell=200)),
            },
        )

    return [predictions, eval_report]
