"""Assets of the monthly review: review_files, monthly_review."""

from typing import cast

import dagster as dg

from vertical_assets.labels.monthly.automation import ANSWERS_DIGEST, months_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    GROWING,
    check,
    markdown_table,
    picture,
    stored,
    watched_files,
)

VERSION = "2"
FIGURES = ("alpha", "low", "high")  # metadata of a month, as the chart over months reads it


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """review_files, monthly_review."""
    key = [spec.name, "monthly_review"]
    months, policy = months_of(spec), spec.annotation.review
    bar = spec.agreement.alpha if policy.bar is None else policy.bar
    review_files = watched_files(
        spec,
        stage,
        "review_files",
        "What second annotators answered, `data/<vertical>/reviews/<month>/answers*`.",
        months,
    )
    every = dg.AllPartitionMapping()  # a month's annotations may come with any batch

    @dg.asset(
        **spec.asset(
            stage,
            "monthly_review",
            version=VERSION,
            reads=[
                "annotation.review",
                "agreement",
                "task",
                "seed",
                *(["clean", "language"] if spec.task.has_spans else []),
            ],
            kinds={"parquet"},
        ),
        partitions_def=months,
        ins={
            "annotations": dg.AssetIn(
                [spec.name, "annotations"], partition_mapping=every, metadata={GROWING: True}
            ),
            "dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"]),
            "duplicates": dg.AssetIn([spec.name, "duplicates"]),
        },
        deps=[
            dg.AssetDep([spec.name, "review_files"]),
            dg.AssetDep([spec.name, "batches"], partition_mapping=every),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "monthly_alpha",
                asset=key,
                description=f"Warns where the month's Krippendorff's alpha is below {bar} (D8).",
            ),
            dg.AssetCheckSpec(
                "review_conserved",
                asset=key,
                blocking=True,
                description="Drawn items = answered + waiting; rows of answers = used + set aside.",
            ),
            dg.AssetCheckSpec(
                "answers_read",
                asset=key,
                description="Warns of answers that can't be used: not of the review, by who "
                "annotated the item before, or against the label standard.",
            ),
        ],
    )
    def monthly_review(
        context: dg.AssetExecutionContext,
        annotations: Table,
        dedup_corpus: Table,
        duplicates: Table,
    ):
        """A month's items checked by a second annotator, who doesn't see the first labels (D8).

        `data/<vertical>/reviews/<month>/` has them as `tasks.csv` and `tasks.jsonl`; answers go
        beside them as `answers*.csv` or `answers*.jsonl`, rows as those of annotations.
        """
        from vertical_assets.alerts import alert
        from vertical_assets.labels.items import needed_columns
        from vertical_assets.labels.monthly.review import (
            ANSWERED,
            WAITING,
            answers_digest,
            export_review,
            review,
            review_folder,
        )
        from vertical_assets.labels.tasks.exports import ExportError
        from vertical_assets.plots import intervals
        from vertical_assets.store.contracts import ANNOTATIONS
        from vertical_assets.store.tables import previous_version, stage_table
        from vertical_assets.store.task_contracts import MONTHLY_REVIEW

        month = context.partition_key
        digest = answers_digest(review_folder(spec.name, month))
        earlier = previous_version(store_root().joinpath(*key, month))
        documents = dedup_corpus.read(list(dict.fromkeys([*needed_columns(spec), "text"])))
        found = review(
            month,
            annotations.read() if annotations.paths else ANNOTATIONS.empty_table(),
            documents,
            duplicates.read(),
            spec,
            earlier and earlier.read(["item_id", "question"]),
        )
        drawn = set(found.items["item_id"].to_pylist())
        columns = (documents[name].to_pylist() for name in ("doc_id", "text"))
        texts = {item: text for item, text in zip(*columns, strict=True) if item in drawn}
        try:
            files = export_review(found, texts, spec)
        except ExportError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        answered, waiting = found.count(ANSWERED), found.count(WAITING)
        value, low, high = found.alpha
        staged = stage_table(store_root(), MONTHLY_REVIEW, found.items.to_batches(), spec.sensitive)
        said = (
            f"{month}: {answered} of {found.items.num_rows} items answered, "
            + ("so there is no alpha yet" if value is None else f"alpha {value:.4f}")
            + (f" (95 % interval {low:.4f}..{high:.4f})" if low is not None else "")
        )
        if value is not None and value < bar:
            said += f", below the bar of {bar}: clarify the label standard with the annotators"
            alert(
                "monthly_alpha",
                spec.name,
                said,
                key=f"monthly_alpha/{spec.name}/{month}/{staged.version}",
                month=month,
                alpha=value,
                bar=bar,
            )
        trend = _earlier_months(context.instance, key, month) | {month: found.alpha}
        points = {m: trend[m] for m in sorted(trend) if trend[m][0] is not None}
        rejected = found.rejected.num_rows
        return stored(
            staged,
            checks=[
                check(
                    "monthly_alpha",
                    value is None or value >= bar,
                    said,
                    severity=dg.AssetCheckSeverity.WARN,
                ),
                check(
                    "review_conserved",
                    found.items.num_rows == answered + waiting
                    and found.read == found.used + rejected,
                    f"{found.items.num_rows} items, {answered} answered + {waiting} waiting; "
                    f"{found.read} rows of answers, {found.used} used + {rejected} set aside",
                ),
                check(
                    "answers_read",
                    not rejected,
                    f"{rejected} of {found.read} rows of answers can't be used",
                    severity=dg.AssetCheckSeverity.WARN,
                    rejected=dg.MetadataValue.md(
                        markdown_table(
                            found.rejected.select(["source", "origin", "rule", "reason"])
                            .slice(0, 20)
                            .to_pylist(),
                            120,
                        )
                    ),
                ),
            ],
            metadata={
                "items_of_the_month": found.draw.items,
                "drawn": found.items.num_rows,
                "answered": answered,
                "waiting": waiting,
                "annotations_without_a_time": found.draw.undated,
                **({ANSWERS_DIGEST: digest} if digest else {}),
                **{n: v for n, v in zip(FIGURES, found.alpha, strict=True) if v is not None},
                **({"files": ", ".join(map(str, files))} if files else {}),
                "months": dg.MetadataValue.md(
                    markdown_table(
                        [
                            {"month": m, **dict(zip(FIGURES, trend[m], strict=True))}
                            for m in sorted(trend)
                        ]
                    )
                ),
                **(
                    {
                        "trend": picture(
                            intervals(list(points), list(points.values()), bar, "alpha"),
                            "alpha by month",
                        )
                    }
                    if points
                    else {}
                ),
            },
        )

    return [review_files, monthly_review]


def _earlier_months(
    instance: dg.DagsterInstance, key: list[str], month: str
) -> dict[str, tuple[float | None, float | None, float | None]]:
    """month -> alpha and its interval when it was last looked at, of the months before this one."""
    asset = dg.AssetKey(key)
    found = {}
    for other in sorted(instance.get_materialized_partitions(asset)):
        if other < month:
            wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[other])
            (record,) = instance.fetch_materializations(wanted, limit=1).records
            made = record.asset_materialization
            said = {n: v.value for n, v in made.metadata.items()} if made else {}
            alpha, low, high = (cast("float | None", said.get(name)) for name in FIGURES)
            found[other] = (alpha, low, high)
    return found
