"""Assets of training: pretrained_ckpt -> finetuned_ckpt, and the baselines beside them."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from upath import UPath

from vertical_assets.spec import VerticalSpec, WarmStart
from vertical_assets.spec.modules import FEATURES, ModuleError
from vertical_assets.spec.training import ON_TOP_SECTIONS
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.atomic import locked
from vertical_assets.store.io_managers import check, markdown_table, picture, stored
from vertical_assets.training.baselines.assets import baseline_assets
from vertical_assets.training.generation.assets import build_assets as build_generation
from vertical_assets.training.planning.assets import (
    POOL,
    STAGE,
    cost_table,
    planning_assets,
    watching,
)

if TYPE_CHECKING:
    from vertical_assets.training.warm_start import Kept

VERSION = "1"  # of the code of these assets
COLD_TAG = "vertical_assets/cold"  # of a run whose trainings go on from nothing


def kept_verdict(kept: "Kept | None", warm: WarmStart) -> dg.AssetCheckResult:
    """Whether a warm start forgot; a cold one has nothing to forget."""
    if kept is None:
        return check("old_items_kept", True, "trained from the base model, not from a checkpoint")
    return check(
        "old_items_kept",
        kept.drop <= warm.max_drop,
        f"{kept.score} on {kept.items} validation items known before: {kept.before:.4f} by the "
        f"last checkpoint, {kept.after:.4f} now; it may get worse by {warm.max_drop:g}",
        severity=dg.AssetCheckSeverity.ERROR
        if warm.on_drop == "block"
        else dg.AssetCheckSeverity.WARN,
        before=kept.before,
        after=kept.after,
        items=kept.items,
    )


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The training assets of one vertical."""
    key = {
        name: [spec.name, name]
        for name in ("dedup_corpus", "labeled_set", "pretrained_ckpt", "finetuned_ckpt")
    }
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
    augmented = (
        {"augmented_set": dg.AssetIn([spec.name, "augmented_set"])} if spec.features.augment else {}
    )
    finetuned = spec.asset(
        STAGE,
        "finetuned_ckpt",
        version=VERSION,
        reads=[
            *("finetune", "model.max_tokens", *ON_TOP_SECTIONS, "processes", "task", "seed"),
            *(["language"] if spec.model.cascade else []),  # words or characters
        ],
        kinds={"pytorch", "lightning", "huggingface"},
    )
    kind = spec.task.kind
    is_class = kind == "classification"
    beats_constant = "beats_majority_class" if is_class else "beats_constant_answer"

    warm = spec.finetune.warm_start
    kept_check = dg.AssetCheckSpec(
        "old_items_kept",
        asset=key["finetuned_ckpt"],
        blocking=warm is not None and warm.on_drop == "block",
        description="After a warm start the score on validation items that were known before falls "
        "by at most finetune.warm_start.max_drop.",
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
        check_specs=[
            dg.AssetCheckSpec(
                "held_out_loss_falls",
                asset=key["pretrained_ckpt"],
                description="The loss on held-out documents is lower than before.",
            ),
            *([distillation_check] if spec.model.distill else []),
        ],
        pool=POOL,
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
        from vertical_assets.training.loop.loop import clear
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
        sections = ["model", "pretrain"]
        with (
            tracked(
                context.resources.mlflow, spec, "pretrained_ckpt", context.run.run_id, sections
            ) as run,
            tempfile.TemporaryDirectory() as folder,
        ):
            try:
                origin = prepare(spec, texts, work / "base")
            except BaseModelError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
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
                    watching(context, spec, "pretrained_ckpt"),
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
            )
            result = pretrain(base, texts, spec, work, watching(context, spec, "pretrained_ckpt"))
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
        frozen = spec.pretrain.freeze_layers
        # The formulas are those of encoders.
        costs = {} if decoder else cost_table(spec, result.model, "tokens", frozen, work, packed)
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

    if spec.task.kind == "generation":
        return [pretrained_ckpt, *build_generation(spec, STAGE, POOL, watching)]

    features = [m.type for m in spec.model.modules_of(kind) if m.type in FEATURES]

    @dg.asset(
        **finetuned,
        description="The vertical's model: the adapted encoder with "
        f"{', '.join(m.type for m in spec.model.modules_of(kind))} on it (SPEC M5-M10, T6-T9). A "
        "Hugging Face directory; the weights are those of the best validation score.",
        ins={
            "pretrained_ckpt": dg.AssetIn(key["pretrained_ckpt"]),
            "labeled_set": dg.AssetIn(key["labeled_set"]),
            **augmented,
            **{name: dg.AssetIn([spec.name, name], dagster_type=Directory) for name in features},
        },
        check_specs=[
            dg.AssetCheckSpec(
                beats_constant,
                asset=key["finetuned_ckpt"],
                blocking=True,
                description="Validation accuracy above the most frequent class's share."
                if is_class
                else "Validation score better than the best constant answer's.",
            ),
            *([kept_check] if warm is not None else []),
        ],
        pool=POOL,
        required_resource_keys={"mlflow"},
    )
    def finetuned_ckpt(
        context: dg.AssetExecutionContext,
        pretrained_ckpt: Directory,
        labeled_set: Table,
        **given: Any,
    ):
        from vertical_assets.features.augmentation import with_augmented
        from vertical_assets.labels.splits import TRAIN, VALIDATION, items_of
        from vertical_assets.plots import curves
        from vertical_assets.store.versions import stage_directory
        from vertical_assets.training.answering import keep_features, open_features
        from vertical_assets.training.cascade import add_cascade, coverage_lines
        from vertical_assets.training.finetuning import finetune
        from vertical_assets.training.loop.checkpoints import (
            manifest_of,
            work_folder,
            write_checkpoint,
        )
        from vertical_assets.training.loop.logs import loss_curves
        from vertical_assets.training.loop.loop import clear
        from vertical_assets.training.modules.registry import write_interface
        from vertical_assets.training.modules.scores import MONITOR, against_constant
        from vertical_assets.training.runs import location, together
        from vertical_assets.training.tracking import log_curve, tracked
        from vertical_assets.training.warm_start import kept_of, parent_of, start_of, write_learnt

        augmented_set: Table | None = given.pop("augmented_set", None)
        vectors: dict[str, Directory] = given
        labeled = labeled_set.read()
        if augmented_set is not None:
            labeled = with_augmented(labeled, augmented_set.read())
        train_set, validation_set = (items_of(labeled, split) for split in (TRAIN, VALIDATION))
        inputs = {
            "pretrained_ckpt": pretrained_ckpt.path.name,
            "labeled_set": labeled_set.version,
            **{name: directory.path.name for name, directory in vectors.items()},
        }
        if augmented_set is not None:
            inputs["augmented_set"] = augmented_set.version
        directories = {name: directory.path for name, directory in vectors.items()}
        parent, why = parent_of(
            store_root() / spec.name / "finetuned_ckpt",
            finetuned["code_version"],
            inputs,
            train_set,
            spec,
            cold=COLD_TAG in context.run.tags,
        )
        start = start_of(pretrained_ckpt.path, train_set, spec, parent, why)
        context.log.info(f"{start.facts['start']} start: {why}")
        work = work_folder(
            spec,
            "finetuned_ckpt",
            finetuned["code_version"],
            {**inputs, **({"parent": parent.name} if parent else {})},
        )
        work.mkdir(parents=True, exist_ok=True)
        with (
            tracked(
                context.resources.mlflow, spec, "finetuned_ckpt", context.run.run_id, ["finetune"]
            ) as run,
            tempfile.TemporaryDirectory() as folder,
            # A killed run's orphan may still be training here: it is waited for, and resumed.
            locked(UPath(work)),
        ):
            together(
                "finetune_run",
                spec,
                work,
                base=str(pretrained_ckpt.path),
                labeled_set=location(labeled_set),
                augmented_set=location(augmented_set) if augmented_set is not None else "",
                parent=str(parent or ""),
            )
            try:
                result = finetune(
                    start.base,
                    start.items,
                    validation_set,
                    start.spec,
                    work,
                    watching(context, spec, "finetuned_ckpt"),
                    open_features(directories),
                    start.whole,
                )
            except ModuleError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            monitor, mode = MONITOR[kind]
            best = {"max": max, "min": min}[mode](
                (line for line in result.log if monitor in line), key=lambda line: line[monitor]
            )
            metrics = {name: best[name] for name in best if name.startswith("val_")}
            run.log_metrics(metrics)
            run.log_param("learning_rate", result.facts["learning_rate"])
            log_curve(result.log)
            checkpoint = Path(folder)
            compared = against_constant(kind, validation_set.labels, spec.labels, metrics)
            facts = {**result.facts, **start.facts, "learns": compared.passed}
            write_checkpoint(
                checkpoint,
                result.model,
                result.tokenizer,
                manifest_of(
                    spec,
                    "finetuned_ckpt",
                    inputs,
                    metrics,
                    code_version=finetuned["code_version"],
                    **facts,
                ),
                result.log,
            )
            if warm is not None:
                write_learnt(checkpoint, train_set, validation_set, spec)
            write_interface(checkpoint, kind, [m.model_dump() for m in spec.model.modules_of(kind)])
            keep_features(checkpoint, directories)
            shown = {}
            if spec.model.cascade is not None:
                curve = add_cascade(checkpoint, train_set, validation_set, spec)
                chosen = next(r for r in curve if r["threshold"] == spec.model.cascade.threshold)
                shown = {
                    "cascade_coverage": chosen["coverage"],
                    "cascade_accuracy": chosen["accuracy"],
                    "cascade": dg.MetadataValue.md(markdown_table(curve)),
                    "cascade_curve": picture(
                        curves(coverage_lines(curve), "share that skips the network", "accuracy"),
                        "cascade",
                    ),
                }
            kept = kept_of(start, checkpoint, validation_set, spec) if parent else None
            staged = stage_directory(store_root(), checkpoint)
        # The formulas are those of an encoder with a plain head.
        plain = spec.model.is_plain(kind)
        frozen = spec.finetune.freeze_layers
        costs = cost_table(spec, result.model, "classes", frozen, work) if plain else {}
        clear(work)
        validated = [line for line in result.log if "val_loss" in line]
        return stored(
            staged,
            checks=[
                check(
                    beats_constant,
                    compared.passed,
                    f"{compared.score.removeprefix('val_')} {compared.model:.3f} on validation, "
                    f"{compared.constant:.3f} by one answer to everything",
                    **metrics,
                ),
                *([kept_verdict(kept, warm)] if warm is not None else []),
            ],
            metadata={
                **facts,
                **metrics,
                **costs,
                **shown,
                "validations": dg.MetadataValue.md(markdown_table(validated)),
                "loss_curve": picture(
                    curves(loss_curves(result.log), "step", "loss"), "loss curve"
                ),
                "score_curve": picture(
                    curves(
                        {
                            name: ([v["step"] for v in validated], [v[name] for v in validated])
                            for name in metrics
                            if name != "val_loss"
                        },
                        "step",
                        "validation",
                    ),
                    "validation curve",
                ),
            },
        )

    return [*planning_assets(spec), pretrained_ckpt, finetuned_ckpt, *baseline_assets(spec)]
