"""Assets of the gate between people's labels and training: agreement_report."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    check,
    markdown_table,
    picture,
    stored,
)

VERSION = "1"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """How far annotators agree."""
    key = {name: [spec.name, name] for name in ("annotations", "agreement_report")}

    @dg.asset(
        **spec.asset(
            stage,
            "agreement_report",
            version=VERSION,
            reads=["agreement", "task", "seed"],
            kinds={"parquet"},
        ),
        ins={"annotations": dg.AssetIn(key["annotations"])},
        check_specs=[
            dg.AssetCheckSpec(
                "alpha",
                asset=key["agreement_report"],
                blocking=True,
                description=f"Krippendorff's alpha >= {spec.agreement.alpha} (SPEC D8).",
            )
        ],
    )
    def agreement_report(annotations: Table):
        """How far annotators agree: alpha with interval, by class and by pair (SPEC D8)."""
        from vertical_assets.labels.agreement import agreement_report, pair_heat_map
        from vertical_assets.plots import heat_map
        from vertical_assets.store.contracts import AGREEMENT
        from vertical_assets.store.tables import stage_table

        report = agreement_report(
            annotations.read(),
            spec.labels,
            spec.agreement.bootstrap,
            spec.seed,
            spec.task.kind,
        )
        rows = report.to_pylist()
        overall = rows[0]
        value = overall["value"]
        if value is None:
            raise dg.Failure(
                "no item has labels of two annotators, so there is no agreement to measure; "
                "let a second person label some of the items",
                allow_retries=False,
            )
        passed = value >= spec.agreement.alpha
        interval = f"95 % interval {overall['low']:.4f}..{overall['high']:.4f}"
        return stored(
            stage_table(store_root(), AGREEMENT, report.to_batches(), spec.sensitive),
            checks=[
                check(
                    "alpha",
                    passed,
                    f"Krippendorff's alpha {value:.4f} ({interval}) on {overall['items']} items "
                    + (
                        f"reaches the bar of {spec.agreement.alpha}"
                        if passed
                        else f"is below the bar of {spec.agreement.alpha}: nothing is trained on "
                        "these labels; clarify the label standard or adjudicate, then label again"
                    ),
                    alpha=value,
                    bar=spec.agreement.alpha,
                )
            ],
            metadata={
                "alpha": value,
                "report": dg.MetadataValue.md(markdown_table(rows[:60])),
                "pairs": picture(
                    heat_map(*pair_heat_map(report), "annotator", "annotator"), "alpha by pair"
                ),
            },
        )

    return [agreement_report]
