"""Assets of the instruction score: instruction_report, and the file that its tasks come in."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, store_root
from vertical_assets.store.io_managers import (
    check,
    gate_checks,
    markdown_table,
    stored,
    watched_files,
)

VERSION = "1"
SHOWN = 12


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """instruction_files, instruction_report; nothing where `evaluate.instruction` is not given."""
    settings = spec.evaluate.instruction
    if settings is None:
        return []
    key = [spec.name, "instruction_report"]
    files = watched_files(
        spec, stage, "instruction_files", "Tasks for the model, in the HumanEval format (SPEC E3)."
    )
    bar = settings.pass_at_1

    @dg.asset(
        **spec.asset(
            stage,
            "instruction_report",
            version=VERSION,
            reads=[
                "evaluate.instruction",
                "generate.max_new_tokens",
                "generate.top_p",
                "instruct.system",
                "model.max_tokens",
                "seed",
            ],
            kinds={"pytorch", "parquet"},
        ),
        ins={"finetuned_ckpt": dg.AssetIn([spec.name, "finetuned_ckpt"])},
        deps=[[spec.name, "instruction_files"]],
        check_specs=[
            dg.AssetCheckSpec(
                "tasks_read",
                asset=key,
                description="Warns of lines of the task file that are no task.",
            ),
            dg.AssetCheckSpec(
                "references_pass",
                asset=key,
                blocking=True,
                description="Every task's own canonical solution passes its test in the sandbox.",
            ),
            dg.AssetCheckSpec(
                "pass_at_1",
                asset=key,
                blocking=bar is not None,
                description="pass@1 is reported (SPEC E3); evaluate.instruction.pass_at_1 sets a "
                "bar."
                if bar is None
                else f"pass@1 >= {bar} (SPEC E3).",
            ),
        ],
        required_resource_keys={"mlflow"},
    )
    def instruction_report(context: dg.AssetExecutionContext, finetuned_ckpt: Directory):
        """What share of tasks the model solves: pass@k, by programs that are run in a sandbox and
        texts that are looked at (SPEC E3).
        """
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.evaluation.instruction.report import (
            by_task,
            gates_of,
            run_tasks,
            scores_of,
        )
        from vertical_assets.evaluation.instruction.sandbox import SandboxError
        from vertical_assets.evaluation.instruction.tasks import TaskFileError, read_tasks
        from vertical_assets.store.contracts import INSTRUCTION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.generation.sampling import generate_answers
        from vertical_assets.training.tracking import tracked

        drawing = spec.generate.model_copy(update={"temperature": settings.temperature})
        drawn = spec.model_copy(update={"generate": drawing})

        def answers(prompts, seeds):
            said = generate_answers(finetuned_ckpt.path, prompts, drawn, seeds=seeds)
            return [(answer.text, answer.finished) for answer in said]

        try:
            file = read_tasks(drop_folder(spec.name) / settings.path)
            ran = run_tasks(file.tasks, answers, spec)
        except (TaskFileError, SandboxError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        scores = scores_of(ran.table, spec)
        with tracked(
            context.resources.mlflow, spec, "instruction_report", context.run.run_id, ["evaluate"]
        ) as run:
            run.log_metrics({f"pass_at_{score.k}": score.value for score in scores})
        rejected = [{"line": each.line, "what is wrong": each.reason} for each in file.rejected]
        rows = [
            {
                **{name: row[name] for name in ("task_id", "sample", "passed", "error")},
                "seconds": seconds,
                "answer": row["answer"],
            }
            for row, seconds in zip(ran.table.to_pylist(), ran.seconds, strict=True)
            if row["sample"] is not None
        ]
        slowest = sorted(rows, key=lambda row: -row["seconds"])
        return stored(
            stage_table(store_root(), INSTRUCTION, ran.table.to_batches(), spec.sensitive),
            checks=[
                check(
                    "tasks_read",
                    not rejected,
                    f"{len(file.tasks)} tasks read, {len(rejected)} lines are none"
                    + "".join(f"; line {each.line}: {each.reason}" for each in file.rejected[:3]),
                    severity=dg.AssetCheckSeverity.WARN,
                ),
                *gate_checks(gates_of(ran.table, spec)),
            ],
            metadata={
                **{f"pass_at_{score.k}": score.value for score in scores},
                "tasks": len(file.tasks),
                "samples_per_task": settings.samples,
                "pass_at_k": dg.MetadataValue.md(
                    markdown_table(
                        [
                            {
                                "k": score.k,
                                "pass@k": score.value,
                                "95 % low": score.low,
                                "high": score.high,
                            }
                            for score in scores
                        ]
                    )
                ),
                "by_task": dg.MetadataValue.md(markdown_table(by_task(ran.table), cell=120)),
                "rejected_lines": dg.MetadataValue.md(markdown_table(rejected, cell=200)),
                "first_answers": dg.MetadataValue.md(
                    markdown_table([row for row in rows if row["sample"] == 0][:SHOWN], cell=200)
                ),
                "slowest": dg.MetadataValue.md(markdown_table(slowest[:SHOWN])),
                "sandbox": dg.MetadataValue.md(
                    markdown_table(
                        [{"protection": name, "by": how} for name, how in ran.held.items()]
                    )
                ),
            },
        )

    return [files, instruction_report]
