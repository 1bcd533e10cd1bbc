"""Assets of the batches: label_files -> annotations, rejected_annotations."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    check,
    markdown_table,
    outs,
    stored,
    watched_files,
)

VERSION = "1"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Who said what about which item, and the files that it came in."""
    key = {name: [spec.name, name] for name in ("annotations", "dedup_corpus")}
    simulated = spec.annotation.simulate is not None
    who = "simulated annotators, not people" if simulated else "people"

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "annotations": f"Who said what about which item (SPEC D7). Labels of {who}.",
                "rejected_annotations": "Rows that break the label standard, with the reason.",
            },
            version=VERSION,
            # Quotes of spans are looked for as cleaning would write them.
            reads=[
                "annotation.path",
                "annotation.simulate",
                "task",
                "seed",
                *(["clean", "language"] if spec.task.has_spans else []),
            ],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "label_standard",
                asset=key["annotations"],
                description="Rows that break the label standard (SPEC D6); warns, rows are kept "
                "in rejected_annotations.",
            ),
            dg.AssetCheckSpec(
                "annotators",
                asset=key["annotations"],
                blocking=True,
                description="At least two annotators labelled the same items (SPEC D8).",
            ),
        ],
        name=f"{spec.name}__annotations",
        ins={
            "dedup_corpus": dg.AssetIn(key["dedup_corpus"]),
            "duplicates": dg.AssetIn([spec.name, "duplicates"]),
        },
        deps=[] if simulated else [[spec.name, "label_files"]],
    )
    def annotations(dedup_corpus: Table, duplicates: Table):
        from vertical_assets.corpus.reading.sources import SourceError
        from vertical_assets.labels.annotations import needed_columns, read_annotations
        from vertical_assets.labels.simulation import simulate_annotations
        from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE
        from vertical_assets.store.tables import stage_table

        documents = dedup_corpus.read(needed_columns(spec))
        try:
            if spec.annotation.simulate is not None:
                collected = simulate_annotations(documents, spec.annotation.simulate, spec)
            else:
                collected = read_annotations(spec, documents, duplicates.read())
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        good, bad = collected.annotations, collected.rejected
        per_item = good.group_by("item_id").aggregate([([], "count_all")])["count_all"]
        several = sum(count.as_py() > 1 for count in per_item)
        people = good.group_by(["annotator_id", "annotator_kind"]).aggregate([([], "count_all")])
        yield stored(
            stage_table(store_root(), ANNOTATIONS, good.to_batches(), spec.sensitive),
            key=key["annotations"],
            checks=[
                check(
                    "label_standard",
                    bad.num_rows == 0,
                    f"{bad.num_rows} of {collected.rows} rows break the label standard",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key["annotations"],
                ),
                check(
                    "annotators",
                    several > 0,
                    f"{several} of {len(per_item)} items have labels of two or more annotators",
                    key=key["annotations"],
                ),
            ],
            metadata={"annotators": dg.MetadataValue.md(markdown_table(people.to_pylist()))},
        )
        yield stored(
            stage_table(store_root(), QUARANTINE, bad.to_batches(), spec.sensitive),
            key=[spec.name, "rejected_annotations"],
        )

    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [annotations]
    if not simulated:
        assets.append(
            watched_files(spec, stage, "label_files", "The files that people's labels come in.")
        )
    return assets
