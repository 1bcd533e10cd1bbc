"""Assets of the training of a generation vertical: finetuned_ckpt, and the baseline beside it."""

import tempfile
from pathlib import Path

import dagster as dg
from upath import UPath

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.atomic import locked
from vertical_assets.store.io_managers import ALL_CORES, check, markdown_table, picture, stored
from vertical_assets.training.planning.assets import (
    STAGE,
    cost_table,
    memory_spec,
    memory_verdict,
    watching,
)

VERSION = "1"


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """What is trained after `pretrained_ckpt`, and the baseline beside it."""
    key = {name: [spec.name, name] for name in ("labeled_set", "pretrained_ckpt", "finetuned_ckpt")}
    finetuned = spec.asset(
        STAGE,
        "finetuned_ckpt",
        version=VERSION,
        reads=["finetune", "instruct", "model.max_tokens", "processes", "seed"],
        kinds={"pytorch", "lightning", "huggingface"},
    )

    @dg.asset(
        **finetuned,
        ins={
            "pretrained_ckpt": dg.AssetIn(key["pretrained_ckpt"]),
            "labeled_set": dg.AssetIn(key["labeled_set"]),
        },
        check_specs=[
            dg.AssetCheckSpec(
                "learns_answers",
                asset=key["finetuned_ckpt"],
                blocking=True,
                description="The loss on validation answers is lower than before tuning.",
            ),
            dg.AssetCheckSpec(
                "pairs_fit",
                asset=key["finetuned_ckpt"],
                description="Every pair fits into model.max_tokens; warns where one is cut or left "
                "out.",
            ),
            memory_spec(spec, "finetuned_ckpt"),
        ],
        pool=ALL_CORES,
        required_resource_keys={"mlflow"},
    )
    def finetuned_ckpt(
        context: dg.AssetExecutionContext, pretrained_ckpt: Directory, labeled_set: Table
    ):
        """The vertical's model: the pretrained decoder, tuned to answer (SPEC M1, T6).

        A Hugging Face directory with the chat template in its tokenizer; the weights are those of
        the best validation loss, low-rank adapters merged.
        """
        import math

        from vertical_assets.labels.generation.pairs import pairs_of
        from vertical_assets.labels.splits import TRAIN, VALIDATION
        from vertical_assets.plots import curves
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.generation.instruction import InstructionError, tune
        from vertical_assets.training.loop.checkpoints import (
            manifest_of,
            work_folder,
            write_checkpoint,
        )
        from vertical_assets.training.loop.logs import loss_curves
        from vertical_assets.training.loop.loop import clear
        from vertical_assets.training.runs import location, together
        from vertical_assets.training.tracking import log_curve, tracked

        labeled = labeled_set.read(["prompt", "text", "split"])
        inputs = {
            "pretrained_ckpt": pretrained_ckpt.path.name,
            "labeled_set": labeled_set.version,
        }
        work = work_folder(spec, "finetuned_ckpt", finetuned["code_version"], inputs)
        work.mkdir(parents=True, exist_ok=True)
        watch = watching(context, spec, "finetuned_ckpt")
        sections = ["finetune", "instruct"]
        with (
            tracked(
                context.resources.mlflow, spec, "finetuned_ckpt", context.run.run_id, sections
            ) as run,
            tempfile.TemporaryDirectory() as folder,
            # A killed run's orphan may still be training here: it is waited for, and resumed.
            locked(UPath(work)),
        ):
            try:
                together(
                    "tune_run",
                    spec,
                    work,
                    base=str(pretrained_ckpt.path),
                    labeled_set=location(labeled_set),
                    board=str(watch.board),
                )
                result = tune(
                    pretrained_ckpt.path,
                    pairs_of(labeled, TRAIN),
                    pairs_of(labeled, VALIDATION),
                    spec,
                    work,
                    watch,
                )
            except InstructionError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            metrics = {
                "val_loss_before": result.loss_before,
                "val_loss": result.loss_after,
                "val_perplexity_before": math.exp(result.loss_before),
                "val_perplexity": math.exp(result.loss_after),
            }
            run.log_metrics(metrics)
            run.log_param("learning_rate", result.facts["learning_rate"])
            log_curve(result.log)
            write_checkpoint(
                Path(folder),
                result.model,
                result.tokenizer,
                manifest_of(spec, "finetuned_ckpt", inputs, metrics, **result.facts),
                result.log,
            )
            staged = stage_directory(store_root(), Path(folder))
        costs = cost_table(
            spec,
            result.model,
            work,
            instruct=spec.instruct,
            predicted=result.facts["answer_tokens"] / result.facts["row_tokens"],
        )
        memory = memory_verdict(work)
        clear(work)
        cut, left_out = result.facts["answers_cut"], result.facts["pairs_too_long"]
        return stored(
            staged,
            checks=[
                check(
                    "learns_answers",
                    result.loss_after < result.loss_before,
                    f"loss on validation answers {result.loss_before:.3f} before, "
                    f"{result.loss_after:.3f} after",
                    loss_before=result.loss_before,
                    loss_after=result.loss_after,
                ),
                check(
                    "pairs_fit",
                    not cut and not left_out,
                    f"of {result.facts['pairs'] + left_out} training pairs, {cut} answers were cut "
                    f"and {left_out} pairs left out",
                    severity=dg.AssetCheckSeverity.WARN,
                    answers_cut=cut,
                    pairs_too_long=left_out,
                ),
                memory,
            ],
            metadata={
                **result.facts,
                **metrics,
                **costs,
                "validations": dg.MetadataValue.md(
                    markdown_table([line for line in result.log if "val_loss" in line])
                ),
                "loss_curve": picture(
                    curves(loss_curves(result.log), "step", "loss on answers"), "loss curve"
                ),
            },
        )

    @dg.asset(
        **spec.asset(
            STAGE,
            "baselines",
            version=VERSION,
            reads=["language"],
            kinds={"parquet", "scikitlearn"},
        ),
        ins={"labeled_set": dg.AssetIn(key["labeled_set"])},
    )
    def baselines(labeled_set: Table):
        """For every held-out prompt the answer of the nearest training prompt, by TF-IDF (SPEC
        E4).
        """
        from vertical_assets.labels.generation.pairs import pairs_of
        from vertical_assets.labels.splits import TRAIN, held_out
        from vertical_assets.store.contracts import GENERATED
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.generation.nearest import nearest_answers
        from vertical_assets.training.generation.tables import generated_table

        labeled = labeled_set.read()
        held = held_out(labeled)
        answers = nearest_answers(pairs_of(labeled, TRAIN), held["prompt"].to_pylist(), spec)
        table = generated_table(held, answers)
        return stored(stage_table(store_root(), GENERATED, table.to_batches(), spec.sensitive))

    return [finetuned_ckpt, baselines]
