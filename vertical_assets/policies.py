"""The closed loop: named policies by which Dagster makes assets anew, with nobody's help (SPEC C5,
O3, T12).

Each state of the inputs is asked for once: what fails is not tried again every half minute, and
what a person cancelled stays cancelled, until something changes. (Runs whose process died are
another matter: Dagster's run retries take them up.) Configuration and code move light assets only;
a changed `finetune` section waits for a person and `vertical-assets build`, since training is dear.
"""

import warnings
from collections.abc import Iterable, Mapping

import dagster as dg
from dagster import AutomationCondition as When

from vertical_assets.conditions import Busy, GateClosed, Made, Outdated, Settled
from vertical_assets.spec import VerticalSpec

LABELS = "labels"
MODEL = ("features", "training", "evaluation", "release")
BELOW = ("training", "evaluation", "release")
LOOP_TAG = "vertical_assets/loop"


def when_labels_change(*groups: str) -> dg.AutomationCondition[dg.AssetKey]:
    """For what is light and made of labels: agreement, verdicts, queue, labelled set, next tasks.

    It follows data and code at once; what is requested above it comes along in the same run, whose
    blocking checks stop it. It waits while a batch is being read, which makes one run of five
    batches, and while a model is trained, evaluated and decided on: the release reads all of it
    again and refuses what is not of one making. So the agreement of a batch that comes during a
    training is seen after it; its rows are read and checked at once all the same. What depends on
    the model as well comes in the run that trains it. An asset that was never made comes as soon as
    all above it is there: it costs seconds.

    Args:
        groups: of further inputs that count.
    """
    return (
        ~Busy((LABELS, *MODEL))
        & (Outdated((LABELS, *groups), code=True, absent=True) | requested_above(LABELS, *groups))
        & Made()
        & ~GateClosed()
    ).with_label("when_labels_change")


def retrain(quiet: int) -> dg.AutomationCondition[dg.AssetKey]:
    """For `finetuned_ckpt`, the features that it reads and the baselines beside it.

    It follows the labels' data version only: a labelled set that was made again with the same
    content trains nothing, nor does a new base model or configuration. It waits until the labels
    are in order (no gate is closed, nothing of the vertical is running or about to) and have rested
    for `quiet` seconds: batches that arrive one after the other, or during a training, make one
    training after them. It costs a single batch these seconds. Labels that never rest are trained
    on after ten times as long. What was never trained does not begin by itself: the first time is
    a person's decision, `vertical-assets build`.
    """
    return (
        ~Busy((LABELS, *MODEL))
        & Outdated((LABELS, "features"))
        & Made()
        & ~GateClosed()
        & ~requested_above(LABELS)
        & Settled(quiet)
    ).with_label("retrain")


def follow() -> dg.AutomationCondition[dg.AssetKey]:
    """For what is below `finetuned_ckpt`: it comes in the run that trains, whose blocking checks
    stop it; or after it, where a model was trained by hand or a run broke off. New labels alone do
    not move it: the old model would be measured again for nothing.
    """
    return (
        (requested_above(*MODEL) | (~Busy(MODEL) & Outdated(BELOW, absent=True)))
        & Made()
        & ~GateClosed()
    ).with_label("follow")


def requested_above(*groups: str) -> dg.AutomationCondition[dg.AssetKey]:
    """Whether something of these groups that the asset is made of is requested in this tick."""
    return When.any_deps_match(When.will_be_requested()).allow(dg.AssetSelection.groups(*groups))


def policy(
    asset: dg.AssetSpec, group_of: Mapping[dg.AssetKey, str | None], spec: VerticalSpec
) -> dg.AutomationCondition[dg.AssetKey] | None:
    """The condition of an asset, by its stage; None for what people and sensors start: the corpus,
    partitions, the base model, and all of a generation vertical.
    """
    if asset.partitions_def is not None or spec.task.kind == "generation":
        return None
    name, retrains = asset.key.path[-1], spec.automate.retrain
    above = {group_of.get(dep.asset_key) for dep in asset.deps}
    if asset.group_name == LABELS:
        # What to label next depends on the model as well.
        return when_labels_change(*(group for group in BELOW if group in above))
    if asset.group_name == "features" or name in ("finetuned_ckpt", "baselines"):
        by_labels = bool(above & {LABELS, "features"})
        return retrain(spec.automate.quiet_seconds) if by_labels and retrains else None
    return follow() if asset.group_name in ("evaluation", "release") and retrains else None


def automated(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], spec: VerticalSpec
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of a vertical, each with its policy."""
    assets = list(assets)
    group_of = {
        each.key: each.group_name
        for asset in assets
        for each in (asset.specs if isinstance(asset, dg.AssetsDefinition) else [asset])
    }

    def conditioned(asset: dg.AssetSpec) -> dg.AssetSpec:
        condition = policy(asset, group_of, spec)
        if condition is None:
            return asset
        return asset.replace_attributes(automation_condition=condition)

    return [
        asset.map_asset_specs(conditioned) if isinstance(asset, dg.AssetsDefinition) else asset
        for asset in assets
    ]


def loop_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Looks at the conditions of one vertical; it runs unless somebody switches it off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            name=f"{spec.name}_loop",
            target=dg.AssetSelection.key_prefixes([spec.name]).materializable(),
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=spec.automate.interval_seconds,
            run_tags={LOOP_TAG: spec.name},
            # The conditions are ours: only this process knows them.
            use_user_code_server=True,
            emit_backfills=False,
            description=f"New labels of {spec.name} to a new release, by the assets' conditions.",
        )
