"""Automation of the monthly review: answers that came in are read, month by month."""

from collections.abc import Iterator

import dagster as dg

from vertical_assets.spec import VerticalSpec

LOOK_SECONDS = 60


def months_of(spec: VerticalSpec) -> dg.MonthlyPartitionsDefinition:
    """One partition per month that is over, as YYYY-MM."""
    return dg.MonthlyPartitionsDefinition(start_date=spec.annotation.review.start, fmt="%Y-%m")


def review_sensor(spec: VerticalSpec) -> dg.SensorDefinition:
    """Asks for a run of each month whose answers changed; of the same answers once, by its key."""

    @dg.sensor(
        name=f"{spec.name}_answers",
        job_name=f"{spec.name}_review",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Reads second annotators' answers of {spec.name} as they come.",
    )
    def answers(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from vertical_assets.labels.monthly.review import review_fingerprints

        drawn = context.instance.get_materialized_partitions(
            dg.AssetKey([spec.name, "monthly_review"])
        )
        answered = [
            (month, digest)
            for month, digest in review_fingerprints(spec.name).items()
            if digest is not None and month in drawn
        ]
        if not answered:
            yield dg.SkipReason("no month has answers")
        for month, digest in answered:
            yield dg.RunRequest(run_key=f"{month}:{digest}", partition_key=month)

    return answers
