"""Automation of the monthly review: answers that came in are read, month by month."""

from collections.abc import Iterator

import dagster as dg

from vertical_assets.spec import VerticalSpec

LOOK_SECONDS = 60
ANSWERS_DIGEST = "answers_digest"  # metadata of a month: which answers it was made from


def months_of(spec: VerticalSpec) -> dg.MonthlyPartitionsDefinition:
    """One partition per month that is over, as YYYY-MM."""
    return dg.MonthlyPartitionsDefinition(start_date=spec.annotation.review.start, fmt="%Y-%m")


def review_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Asks for a run of each month whose answers are others than its review was made from."""

    @dg.sensor(
        name=f"{spec.name}_answers",
        job_name=f"{spec.name}_review",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reads second annotators' answers of {spec.name} as they come.",
    )
    def answers(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from vertical_assets.labels.monthly.review import review_fingerprints

        asset, asked = dg.AssetKey([spec.name, "monthly_review"]), 0
        for month, digest in review_fingerprints(spec.name).items():
            wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[month])
            for record in context.instance.fetch_materializations(wanted, limit=1).records:
                made = record.asset_materialization
                read = made.metadata.get(ANSWERS_DIGEST) if made else None
                if digest != (read.value if read else None):
                    # The same answers may come again, after others or after they were gone.
                    run_key = f"{month}:{digest}:{record.storage_id}"
                    yield dg.RunRequest(run_key=run_key, partition_key=month)
                    asked += 1
        if not asked:
            yield dg.SkipReason("no drawn month has new answers")

    return answers
