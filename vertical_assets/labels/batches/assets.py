"""Assets of the batches, one partition each: label_files -> annotations, rejected_annotations."""

import dagster as dg

from vertical_assets.labels.batches.automation import (
    DIGEST,
    batches_of,
    observation,
    version_of_batches,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    ALL_FILES,
    check,
    markdown_table,
    outs,
    stored,
    watched_files,
)

VERSION = "2"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Who said what about which item, and the files that it came in."""
    key = {name: [spec.name, name] for name in ("annotations", "dedup_corpus", "batches")}
    partitions = batches_of(spec)

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "annotations": f"Who said what about which item (SPEC D7). Labels of "
                f"{spec.annotation.who}.",
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
                "rows_conserved",
                asset=key["annotations"],
                blocking=True,
                description="Rows of the files = annotations + rows joined to them + rejected "
                "rows + rows about forgotten documents.",
            ),
        ],
        name=f"{spec.name}__annotations",
        partitions_def=partitions,
        ins={
            "dedup_corpus": dg.AssetIn(key["dedup_corpus"]),
            "duplicates": dg.AssetIn([spec.name, "duplicates"]),
        },
        deps=[[spec.name, "label_files"]],
    )
    def annotations(context: dg.AssetExecutionContext, dedup_corpus: Table, duplicates: Table):
        from vertical_assets.corpus.reading.sources import SourceError
        from vertical_assets.labels.annotations import read_annotations
        from vertical_assets.labels.batches.arrivals import batch_of
        from vertical_assets.labels.items import items_of, needed_columns
        from vertical_assets.labels.simulation import simulate_annotations
        from vertical_assets.spec.labels import SIMULATED
        from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE
        from vertical_assets.store.tables import stage_table

        batch = context.partition_key
        documents = dedup_corpus.read(needed_columns(spec))
        try:
            if batch == SIMULATED and spec.annotation.simulate is not None:
                digest = SIMULATED
                collected = simulate_annotations(documents, spec.annotation.simulate, spec)
            else:
                found = batch_of(spec, batch)
                digest = found.digest
                items = items_of(spec, documents, duplicates.read())
                collected = read_annotations(spec, items, found.files, batch)
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        good, bad = collected.annotations, collected.rejected
        read = collected.rows if collected.read is None else collected.read
        staged = stage_table(store_root(), ANNOTATIONS, good.to_batches(), spec.sensitive)
        # Seen together with the new annotations, so that what is below runs once.
        keys = context.instance.get_dynamic_partitions(str(partitions.name))
        version = version_of_batches(spec, keys, {batch: staged.version})
        context.log_event(observation(dg.AssetKey(key["batches"]), ALL_FILES, version))
        people = good.group_by(["annotator_id", "annotator_kind"]).aggregate(
            [([], "count_all"), ("lead_time_s", "approximate_median")]
        )
        shown = {
            "annotator_id": "annotator",
            "annotator_kind": "kind",
            "count_all": "annotations",
            "lead_time_s_approximate_median": "median seconds",
        }
        people = people.select(list(shown)).rename_columns(list(shown.values()))
        yield stored(
            staged,
            key=key["annotations"],
            checks=[
                check(
                    "label_standard",
                    bad.num_rows == 0,
                    f"batch {batch}: {bad.num_rows} of {collected.rows} rows break the label "
                    "standard",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key["annotations"],
                ),
                check(
                    "rows_conserved",
                    collected.conserved,
                    f"batch {batch}: {read} rows, {good.num_rows} annotations + "
                    f"{collected.joined} joined + {bad.num_rows} rejected + "
                    f"{collected.forgotten} about forgotten documents",
                    key=key["annotations"],
                ),
            ],
            metadata={
                "annotators": dg.MetadataValue.md(markdown_table(people.to_pylist())),
                DIGEST: digest,
            },
        )
        yield stored(
            stage_table(store_root(), QUARANTINE, bad.to_batches(), spec.sensitive),
            key=[spec.name, "rejected_annotations"],
        )

    label_files = watched_files(
        spec, stage, "label_files", "The files that people's labels come in, one a batch."
    ).replace_attributes(partitions_def=partitions)
    batches = watched_files(
        spec, stage, "batches", "Which batches there are, and what annotations each one holds."
    )
    return [label_files, annotations, batches]
