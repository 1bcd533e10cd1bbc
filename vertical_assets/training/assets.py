"""Assets of training: pretrained_ckpt; those of its rooms stand beside it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import dagster as dg
from upath import UPath

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.atomic import locked
from vertical_assets.store.io_managers import ALL_CORES, check, markdown_table, picture, stored
from vertical_assets.training.baselines.assets import baseline_assets
from vertical_assets.training.generation.assets import build_assets as build_generation
from vertical_assets.training.modules.assets import finetuned_asset
from vertical_assets.training.planning.assets import (
    STAGE,
    cost_table,
    for_good,
    memory_spec,
    memory_verdict,
    planning_assets,
    watching,
)

VERSION = "1"


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The training assets of one vertical."""
    key = {name: [spec.name, name] for name in ("dedup_corpus", "pretrained_ckpt")}
    decoder = spec.model.architecture == "gpt"
    objective = "causal" if decoder else "masked"
    unread = "validation and test splits" if decoder else "test split"

    pretrained = spec.asset(
        STAGE,
        "pretrained_ckpt",
        version=VERSION,
        reads=[
            *spec.model.base_sections,
            *("pretrain", "processes", "split", "seed"),
            *(["clean"] if spec.model.keywords else []),  # the terms, and how they are written
        ],
        kinds={"pytorch", "lightning", "huggingface"},
    )
    distillation_check = dg.AssetCheckSpec(
        "distillation_loss_falls",
        asset=key["pretrained_ckpt"],
        description="After distillation, the cut model is closer to the whole one.",
    )

    @dg.asset(
        **pretrained,
        description=f"The base model ({spec.model.described}), adapted to the domain by "
        f"{objective}-language-model training on the corpus without the {unread} (SPEC T5). A "
        "Hugging Face directory.",
        ins={"dedup_corpus": dg.AssetIn(key["dedup_corpus"])},
        deps=[[spec.name, "dictionary_files"]] if spec.model.keywords else [],
        check_specs=[
            dg.AssetCheckSpec(
                "held_out_loss_falls",
                asset=key["pretrained_ckpt"],
                description="The loss on held-out documents is lower than before.",
            ),
            memory_spec(spec, "pretrained_ckpt"),
            *([distillation_check] if spec.model.distill else []),
        ],
        pool=ALL_CORES,
        required_resource_keys={"mlflow"},
    )
    def pretrained_ckpt(context: dg.AssetExecutionContext, dedup_corpus: Table):
        from vertical_assets.plots import curves
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.adaptation.base_models import BaseModelError
        from vertical_assets.training.loop.checkpoints import (
            manifest_of,
            work_folder,
            write_checkpoint,
        )
        from vertical_assets.training.loop.logs import loss_curves
        from vertical_assets.training.loop.loop import UntrainableError, clear
        from vertical_assets.training.runs import corpus_texts, location, together
        from vertical_assets.training.tracking import log_curve, tracked

        if decoder:
            from vertical_assets.training.generation.causal import pretrain_decoder as pretrain
            from vertical_assets.training.generation.decoders import prepare_decoder as prepare
        else:
            from vertical_assets.training.adaptation.base_models import prepare_base as prepare
            from vertical_assets.training.pretraining import pretrain

        texts = corpus_texts(dedup_corpus, spec)
        inputs = {"dedup_corpus": dedup_corpus.version}
        work = work_folder(spec, "pretrained_ckpt", pretrained["code_version"], inputs)
        work.mkdir(parents=True, exist_ok=True)
        watch = watching(context, spec, "pretrained_ckpt")
        sections = ["model", "pretrain"]
        with (
            tracked(
                context.resources.mlflow, spec, "pretrained_ckpt", context.run.run_id, sections
            ) as run,
            tempfile.TemporaryDirectory() as folder,
            # A killed run's orphan may still be training here: it is waited for, and resumed.
            locked(UPath(work)),
            for_good(BaseModelError, UntrainableError),
        ):
            origin = prepare(spec, texts, work / "base")
            base, facts, shown = origin.path, dict(origin.facts), {}
            checks = []
            if spec.model.distill and origin.teacher:
                from vertical_assets.training.adaptation.distillation import distill

                taught = distill(
                    origin.teacher,
                    base,
                    texts,
                    spec,
                    work / "distillation",
                    replace(watch, board=watch.board and watch.board / "distillation"),
                )
                base = taught.path
                facts |= taught.losses
                run.log_metrics(taught.losses)
                shown["distillation_curve"] = picture(
                    curves(loss_curves(taught.log), "step", "distillation loss"),
                    "distillation curve",
                )
                checks.append(
                    check(
                        "distillation_loss_falls",
                        taught.after.total < taught.before.total,
                        f"held-out loss {taught.before.total:.3f} before, "
                        f"{taught.after.total:.3f} after",
                        severity=dg.AssetCheckSeverity.WARN,
                        **taught.losses,
                    )
                )
            together(
                "pretrain_run",
                spec,
                work,
                base=str(base),
                dedup_corpus=location(dedup_corpus),
                board=str(watch.board),
            )
            result = pretrain(base, texts, spec, work, watch)
            metrics = {"loss_before": result.loss_before, "loss_after": result.loss_after}
            run.log_metrics(metrics)
            run.log_param("learning_rate", result.facts["learning_rate"])
            log_curve(result.log)
            facts |= result.facts
            write_checkpoint(
                Path(folder),
                result.model,
                result.tokenizer,
                manifest_of(
                    spec, "pretrained_ckpt", inputs, metrics, **facts, adaptation=origin.sizes
                ),
                result.log,
            )
            staged = stage_directory(store_root(), Path(folder))
        packed = facts["tokens"] / facts["texts"] if spec.pretrain.packing else None
        costs = cost_table(
            spec,
            result.model,
            work,
            frozen=spec.pretrain.freeze_layers,
            predicted=facts["filled"] if decoder else spec.pretrain.mask,
            packed_length=packed,
        )
        memory = memory_verdict(work)
        clear(work)
        return stored(
            staged,
            checks=[
                check(
                    "held_out_loss_falls",
                    result.loss_after < result.loss_before,
                    f"held-out loss {result.loss_before:.3f} before, {result.loss_after:.3f} after",
                    severity=dg.AssetCheckSeverity.WARN,
                    loss_before=result.loss_before,
                    loss_after=result.loss_after,
                ),
                memory,
                *checks,
            ],
            metadata={
                **facts,
                **metrics,
                **shown,
                "adaptation": dg.MetadataValue.md(markdown_table(origin.sizes)),
                **costs,
                "loss_curve": picture(
                    curves(loss_curves(result.log), "step", f"{objective}-token loss"),
                    "loss curve",
                ),
            },
        )

    planned = [*planning_assets(spec), pretrained_ckpt]
    if spec.task.kind == "generation":
        return [*planned, *build_generation(spec)]
    return [*planned, finetuned_asset(spec), *baseline_assets(spec)]
