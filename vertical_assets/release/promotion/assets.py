"""The asset release: the decision about a model, and the files that people approve it by."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import (
    check,
    markdown_table,
    recorded_failures,
    stored,
    watched_files,
)

if TYPE_CHECKING:
    from vertical_assets.release.promotion.promote import Promoted

VERSION = "2"
MODELS = ("quantized_artifact", "finetuned_ckpt")
TABLES = (
    "predictions",
    "baselines",
    "eval_report",
    "robustness_report",
    "slices",
    "agreement_report",
    "batch_verdicts",
    "labeled_set",
)
MADE_FROM = "dagster/input_data_version/"  # tags of a materialization
READS = (
    "agreement.alpha",
    "dedup",
    "domain",
    "evaluate",
    "language",
    "name",
    "promote",
    "quantize",
    "seed",
    "sources",
    "task",
)


def build_assets(
    spec: VerticalSpec, stage: str, above: Iterable[dg.AssetsDefinition | dg.AssetSpec] = ()
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """release and, where people approve, the files that they do it by.

    Args:
        spec: the vertical.
        stage: name of the group.
        above: assets whose recorded blocking checks have to hold.
    """
    key = [spec.name, "release"]
    by_people = spec.promote.approval == "required"
    made = [asset for asset in above if isinstance(asset, dg.AssetsDefinition)]
    blocking = [each.key for asset in made for each in asset.check_specs if each.blocking]
    parts = {each: asset.partitions_def for asset in made for each in asset.keys}

    @dg.asset(
        **spec.asset(stage, "release", version=VERSION, reads=READS, kinds={"parquet"}),
        ins={name: dg.AssetIn([spec.name, name]) for name in (*MODELS, *TABLES)},
        deps=[[spec.name, "approvals"]] if by_people else [],
        check_specs=[
            dg.AssetCheckSpec(
                "gates",
                asset=key,
                description="Every gate holds on what is stored and on record; else the model is "
                "refused.",
            ),
            dg.AssetCheckSpec(
                "better",
                asset=key,
                description=f"Better than the champion by more than {spec.promote.min_gain:.0%}, "
                f"p <= {spec.promote.significance:g} (SPEC O3); else it is a challenger.",
            ),
            dg.AssetCheckSpec(
                "registry",
                asset=key,
                description="MLflow's aliases name the same releases as the channels; warns.",
            ),
            *(
                [
                    dg.AssetCheckSpec(
                        "approval", asset=key, description="A person approved it; warns while not."
                    )
                ]
                if by_people
                else []
            ),
        ],
    )
    def release(
        context: dg.AssetExecutionContext,
        quantized_artifact: Directory,
        finetuned_ckpt: Directory,
        predictions: Table,
        baselines: Table,
        eval_report: Table,
        robustness_report: Table,
        slices: Table,
        agreement_report: Table,
        batch_verdicts: Table,
        labeled_set: Table,
    ):
        """Whether the model takes the champion's place, and why (SPEC O3): all gates are read again
        from what is stored, the champion is asked about the same test items.
        """
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.evaluation.pages import comparison
        from vertical_assets.labels.splits import TEST
        from vertical_assets.release.channels import ReleaseError, releases_folder
        from vertical_assets.release.promotion.approvals import FILE, Approvals, read_approvals
        from vertical_assets.release.promotion.decision import APPROVAL, BETTER, figures_of
        from vertical_assets.release.promotion.gates import (
            Stored,
            Verdict,
            in_step,
            recorded_verdicts,
        )
        from vertical_assets.release.promotion.promote import promote
        from vertical_assets.release.promotion.registry import mirror
        from vertical_assets.store.contracts import RELEASE_DECISION
        from vertical_assets.store.tables import stage_table
        from vertical_assets.training.tracking import tracking_uri

        versions = {
            "quantized_artifact": quantized_artifact.path.name,
            "finetuned_ckpt": finetuned_ckpt.path.name,
            "predictions": predictions.version,
            "baselines": baselines.version,
            "eval_report": eval_report.version,
            "robustness_report": robustness_report.version,
            "slices": slices.version,
            "agreement_report": agreement_report.version,
            "batch_verdicts": batch_verdicts.version,
            "labeled_set": labeled_set.version,
        }
        judged_by = Stored(
            quantized_artifact.path,
            quantized_artifact.manifest,
            finetuned_ckpt.manifest,
            versions,
            predictions.read(),
            eval_report.read(),
            robustness_report.read(),
            slices.read(),
            agreement_report.read(),
            batch_verdicts.read(),
            labeled_set.read(),
        )
        failures = recorded_failures(context.instance, blocking, parts)
        more = [
            Verdict("release", in_step(made_from(context.instance, spec, versions), versions)),
            *recorded_verdicts((k.asset_key.path[-1], k.name, why) for k, why in failures.items()),
        ]
        said = read_approvals(drop_folder(spec.name) / FILE) if by_people else Approvals()
        try:
            found = promote(store_root(), judged_by, baselines.read(), more, said, spec)
        except ReleaseError as error:
            raise dg.Failure(str(error)) from error
        tell(found, spec)
        decision, gates = found.decision, {v.gate.gate: v.gate for v in found.decision.verdicts}
        problem = None
        try:
            aliases = mirror(
                releases_folder(store_root(), spec.name),
                tracking_uri(),
                figures_of(decision, found.comparison),
            )
        except Exception as error:  # whatever is wrong with it: the release stands
            aliases, problem = {}, f"{type(error).__name__}: {error}"
            context.log.warning(f"MLflow's registry does not follow the channels: {problem}")
        warn = dg.AssetCheckSeverity.WARN
        checks = [
            check("gates", not decision.failed, decision.reason),
            check(BETTER, gates[BETTER].passed, gates[BETTER].why, severity=warn),
            check(
                "registry",
                problem is None,
                problem or "; ".join(f"{k}: version {v}" for k, v in aliases.items()) or "no alias",
                severity=warn,
            ),
        ]
        if by_people:
            broken = "".join(
                f"; {FILE}, line {each['line']} says nothing: {each['reason']}"
                for each in said.rejected
            )
            answer = gates[APPROVAL]
            checks.append(check(APPROVAL, answer.passed, answer.why + broken, severity=warn))
        table = decision.table()
        shown = ("subject", "gate", "passed", "blocking", "value", "bar", "why")
        return stored(
            stage_table(store_root(), RELEASE_DECISION, table.to_batches(), spec.sensitive),
            checks=checks,
            metadata={
                **figures_of(decision, found.comparison),
                "reason": decision.reason,
                "champion": found.channels.champion or "none",
                "challenger": found.channels.challenger or "none",
                "pending": found.channels.pending or "none",
                "mlflow": problem or "the aliases are those of the channels",
                "verdicts": dg.MetadataValue.md(
                    markdown_table(table.select(list(shown)).to_pylist(), cell=300)
                ),
                **(
                    {}
                    if found.comparison is None
                    else {
                        "comparison": dg.MetadataValue.md(
                            markdown_table(
                                comparison(found.comparison.report, TEST, spec.task.kind)
                            )
                        )
                    }
                ),
                "model_card": dg.MetadataValue.md(found.card.partition("\n---\n")[2]),
            },
        )

    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [release]
    if by_people:
        assets.append(
            watched_files(
                spec, stage, "approvals", "What people said of releases: approvals.jsonl."
            )
        )
    return assets


def tell(found: "Promoted", spec: VerticalSpec) -> None:
    """Alerts of what became of a candidate: of every change of the channels once."""
    from vertical_assets.alerts import alert

    release = found.decision.release
    changes = [change for change in found.channels.history if change["release"] == release]
    for change in changes[-1:]:  # none where the champion of before is refused, and stays
        alert(
            f"release_{change['channel']}",
            spec.name,
            f"release {release[:8]} is {change['channel']}: {change['reason']}",
            key=f"release {spec.name} {release} {change['channel']} {change['at']}",
            release=release,
            was=change["was"],
        )


def made_from(
    instance: dg.DagsterInstance, spec: VerticalSpec, names: Iterable[str]
) -> dict[str, dict[str, str] | None]:
    """Asset -> versions of its inputs when it was made; None where nothing is recorded."""
    found: dict[str, dict[str, str] | None] = {}
    for name in names:
        record = instance.get_latest_data_version_record(dg.AssetKey([spec.name, name]))
        tags = (record.event_log_entry.tags if record else None) or {}
        inputs = {
            tag.rpartition("/")[2]: version
            for tag, version in tags.items()
            if tag.startswith(MADE_FROM)
        }
        found[name] = inputs or None
    return found
