"""The vertical's model as an asset: modules on the adapted encoder, trained on the labelled set."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from upath import UPath

from vertical_assets.spec import VerticalSpec, WarmStart
from vertical_assets.spec.modules import FEATURES, ModuleError
from vertical_assets.spec.training import LEARNT_BY, ON_TOP_SECTIONS
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.atomic import locked
from vertical_assets.store.io_managers import ALL_CORES, check, markdown_table, picture, stored
from vertical_assets.training.planning.assets import (
    STAGE,
    cost_table,
    for_good,
    memory_spec,
    memory_verdict,
    watching,
)

if TYPE_CHECKING:
    from vertical_assets.training.warm_start import Kept

VERSION, FUSED_VERSION = "1", "2"  # the second of fusions, and of modules that read features
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


def finetuned_asset(spec: VerticalSpec) -> dg.AssetsDefinition:
    """`finetuned_ckpt` of a vertical that is no generation."""
    key = {name: [spec.name, name] for name in ("labeled_set", "pretrained_ckpt", "finetuned_ckpt")}
    augmented = (
        {"augmented_set": dg.AssetIn([spec.name, "augmented_set"])} if spec.features.augment else {}
    )
    kind = spec.task.kind
    features = [m.type for m in spec.model.modules_of(kind) if m.type in FEATURES]
    finetuned = spec.asset(
        STAGE,
        "finetuned_ckpt",
        version=FUSED_VERSION if features or spec.model.fusion else VERSION,
        reads=[
            *(*LEARNT_BY, "model.max_tokens", *ON_TOP_SECTIONS, "processes", "task", "seed"),
            *(["language"] if spec.model.cascade else []),  # words or characters
        ],
        kinds={"pytorch", "lightning", "huggingface"},
    )
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
            memory_spec(spec, "finetuned_ckpt"),
            *([kept_check] if warm is not None else []),
        ],
        pool=ALL_CORES,
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
        from vertical_assets.training.loop.loop import UntrainableError, clear
        from vertical_assets.training.modules.registry import write_interface
        from vertical_assets.training.modules.scores import MONITOR, against_constant
        from vertical_assets.training.runs import location, together
        from vertical_assets.training.tracking import log_curve, tracked
        from vertical_assets.training.warm_start import (
            kept_of,
            of_warm_start,
            parent_of,
            start_of,
            write_learnt,
        )

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
            {**inputs, **(of_warm_start(spec, parent) if parent else {})},
        )
        work.mkdir(parents=True, exist_ok=True)
        watch = watching(context, spec, "finetuned_ckpt")
        sections = ["model", "finetune"]
        with (
            tracked(
                context.resources.mlflow, spec, "finetuned_ckpt", context.run.run_id, sections
            ) as run,
            tempfile.TemporaryDirectory() as folder,
            # A killed run's orphan may still be training here: it is waited for, and resumed.
            locked(UPath(work)),
            for_good(ModuleError, UntrainableError),
        ):
            together(
                "finetune_run",
                spec,
                work,
                base=str(pretrained_ckpt.path),
                labeled_set=location(labeled_set),
                augmented_set=location(augmented_set) if augmented_set is not None else "",
                features=json.dumps({name: str(path) for name, path in directories.items()}),
                parent=str(parent or ""),
                board=str(watch.board),
            )
            result = finetune(
                start.base,
                start.items,
                validation_set,
                start.spec,
                work,
                watch,
                open_features(directories),
                start.whole,
            )
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
            if spec.finetune.privacy is None:  # digests of texts tell who was learnt from
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
        costs = cost_table(spec, result.model, work, frozen=spec.finetune.freeze_layers)
        memory = memory_verdict(work)
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
                memory,
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

    return finetuned_ckpt
