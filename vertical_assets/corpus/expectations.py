"""Expectations: Great Expectations' verdict on the documents that passed the rules (SPEC C6)."""

import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.spec import VerticalSpec

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")


@dataclass(frozen=True)
class Expectation:
    """One expectation's outcome."""

    name: str
    column: str
    passed: bool
    unexpected: int


def validate(documents: pa.Table, spec: VerticalSpec) -> list[Expectation]:
    """Runs the suite over DOCUMENTS; texts enter as their lengths, so that they need no copy."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frame = (
        documents.select(["doc_id", "source", "kind", "language", "licence"])
        .append_column("characters", pc.utf8_length(documents["text"]))
        .to_pandas()
    )
    suite = gx.ExpectationSuite(
        name=f"{spec.name}_documents",
        expectations=[
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            gxe.ExpectColumnValuesToNotBeNull(column="doc_id"),
            gxe.ExpectColumnValuesToBeUnique(column="doc_id"),
            gxe.ExpectColumnValuesToBeInSet(
                column="source", value_set=[source.name for source in spec.sources]
            ),
            gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["public", "report", "user"]),
            gxe.ExpectColumnValuesToBeBetween(
                column="characters",
                min_value=spec.rules.min_chars,
                max_value=spec.rules.max_chars,
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="licence"),
        ],
    )
    batch = (
        context.data_sources.add_pandas(spec.name)
        .add_dataframe_asset("documents")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame})
    )
    return [
        Expectation(
            name=result.expectation_config.type,
            column=result.expectation_config.kwargs.get("column", "table"),
            passed=bool(result.success),
            unexpected=int(result.result.get("unexpected_count", 0)),
        )
        for result in batch.validate(suite).results
    ]
