"""Assets of the corpus: source_files -> raw_corpus -> valid_corpus, quarantine -> dedup_corpus."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, outs, picture, stored

STAGE, VERSION = "corpus", "1"
NEAR_DUPLICATES_WARN = 0.5  # share from which a source is probably collected twice


def sources_of(spec: VerticalSpec) -> dg.StaticPartitionsDefinition:
    """One partition per source."""
    return dg.StaticPartitionsDefinition([source.name for source in spec.sources])


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The corpus assets of one vertical."""
    partitions = sources_of(spec)
    key = {name: [spec.name, name] for name in ("valid_corpus", "quarantine", "dedup_corpus")}

    source_files = dg.AssetSpec(
        key=[spec.name, "source_files"],
        group_name=STAGE,
        partitions_def=partitions,
        kinds={"file"},
        tags={"vertical": spec.name, "stage": STAGE},
        description="The files behind each source (SPEC D2). Its data version is a digest of their "
        "names and bytes, looked at every minute: what `raw_corpus` is out of date against.",
    )

    @dg.asset(
        **spec.asset(
            STAGE, "raw_corpus", version=VERSION, reads=["sources", "language"], kinds={"parquet"}
        ),
        partitions_def=partitions,
        deps=[[spec.name, "source_files"]],
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=[spec.name, "raw_corpus"],
                blocking=True,
                description="Every row that was read is stored, as document or with a reason.",
            )
        ],
    )
    def raw_corpus(context: dg.AssetExecutionContext):
        """Documents as collected, one partition per source (SPEC D2).

        Rows that can't be documents (broken, undecodable, repeated id) stay here with `rule` and
        `reason` filled and go to `quarantine` in the next step.
        """
        from vertical_assets.corpus.sources import Counted, SourceError, drop_folder, read_source
        from vertical_assets.store.contracts import RAW_DOCUMENTS
        from vertical_assets.store.tables import stage_table

        source = spec.source(context.partition_key)
        try:
            counted = Counted(read_source(source, drop_folder(spec.name), spec.language))
            staged = stage_table(store_root(), RAW_DOCUMENTS, counted)
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        documents = counted.rows - counted.rejected
        if not documents:
            raise dg.Failure(
                f"source {source.name!r} gave no document: {counted.first_reason or 'no rows'}",
                allow_retries=False,
            )
        return stored(
            staged,
            checks=[
                check(
                    "rows_conserved",
                    staged.rows == counted.rows,
                    f"{counted.rows} rows read, {staged.rows} stored",
                    read=counted.rows,
                    stored=staged.rows or 0,
                )
            ],
            metadata={
                "source": source.name,
                "kind": source.kind,
                "licence": source.licence,
                "documents": documents,
                "rejected_rows": counted.rejected,
                "characters": counted.characters,
            },
        )

    @dg.multi_asset(
        outs=outs(
            spec,
            STAGE,
            {
                "valid_corpus": "Documents that pass every rule (SPEC D4, D5).",
                "quarantine": "Rejected rows, each with rule, field, value and reason (SPEC D4).",
            },
            version=VERSION,
            # The names: a source that leaves must leave this table too.
            reads=["rules", "source_names"],
            kinds={"parquet", "greatexpectations"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=key["valid_corpus"],
                blocking=True,
                description="Rows in = rows valid + rows quarantined.",
            ),
            dg.AssetCheckSpec(
                "great_expectations",
                asset=key["valid_corpus"],
                blocking=True,
                description="Great Expectations' suite over the valid documents.",
            ),
        ],
        name=f"{spec.name}__valid_corpus",
        ins={"raw_corpus": dg.AssetIn([spec.name, "raw_corpus"])},
    )
    def valid_corpus(raw_corpus: Table):
        import pyarrow as pa

        from vertical_assets.corpus.expectations import validate
        from vertical_assets.corpus.rules import apply_rules, source_diversity
        from vertical_assets.store.contracts import DOCUMENTS, QUARANTINE
        from vertical_assets.store.tables import stage_table

        parts = [apply_rules(batch, spec.rules) for batch in raw_corpus.batches()]
        valid = stage_table(store_root(), DOCUMENTS, (good for good, _ in parts))
        bad = stage_table(store_root(), QUARANTINE, (bad for _, bad in parts))
        read = raw_corpus.dataset().count_rows()
        documents = pa.Table.from_batches([good for good, _ in parts], DOCUMENTS)
        outcomes = validate(documents, spec)
        failed = [outcome for outcome in outcomes if not outcome.passed]
        yield stored(
            valid,
            key=key["valid_corpus"],
            checks=[
                check(
                    "rows_conserved",
                    read == (valid.rows or 0) + (bad.rows or 0),
                    f"{read} rows in, {valid.rows} valid + {bad.rows} quarantined",
                    key=key["valid_corpus"],
                ),
                check(
                    "great_expectations",
                    not failed,
                    f"{len(outcomes) - len(failed)} of {len(outcomes)} expectations met"
                    + "".join(
                        f"; {o.column}: {o.name} failed {o.unexpected} times" for o in failed
                    ),
                    key=key["valid_corpus"],
                    outcomes=dg.MetadataValue.md(markdown_table([vars(o) for o in outcomes])),
                ),
            ],
            metadata={"sources": dg.MetadataValue.md(markdown_table(source_diversity(documents)))},
        )
        rules = pa.Table.from_batches([bad for _, bad in parts], QUARANTINE)
        counts = rules.group_by(["source", "rule"]).aggregate([([], "count_all")]).to_pylist()
        yield stored(
            bad,
            key=key["quarantine"],
            metadata={"by_rule": dg.MetadataValue.md(markdown_table(counts))},
        )

    @dg.multi_asset(
        outs=outs(
            spec,
            STAGE,
            {
                "dedup_corpus": "One document per cluster of exact and near duplicates (SPEC D3).",
                "duplicates": "What was dropped, for which kept document, how similar (SPEC D3).",
            },
            version=VERSION,
            reads=["dedup", "language", "seed"],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=key["dedup_corpus"],
                blocking=True,
                description="Documents in = documents kept + documents dropped.",
            ),
            dg.AssetCheckSpec(
                "no_exact_duplicate",
                asset=key["dedup_corpus"],
                blocking=True,
                description="No two kept documents have the same normalised text.",
            ),
            dg.AssetCheckSpec(
                "duplicate_rate",
                asset=key["dedup_corpus"],
                description="Warns where most of the corpus are duplicates.",
            ),
        ],
        name=f"{spec.name}__dedup_corpus",
        ins={"valid_corpus": dg.AssetIn([spec.name, "valid_corpus"])},
    )
    def dedup_corpus(valid_corpus: Table):
        from vertical_assets.corpus.dedup import deduplicate, normalize
        from vertical_assets.plots import histogram
        from vertical_assets.store.contracts import DEDUP_DOCUMENTS, DUPLICATES
        from vertical_assets.store.tables import stage_table

        read = valid_corpus.read()
        result = deduplicate(read, spec)
        kept, dropped = result.documents, result.duplicates
        texts = kept["text"].to_pylist()
        distinct = len({normalize(text) for text in texts})
        rate = dropped.num_rows / read.num_rows
        yield stored(
            stage_table(store_root(), DEDUP_DOCUMENTS, kept.to_batches()),
            key=key["dedup_corpus"],
            checks=[
                check(
                    "rows_conserved",
                    read.num_rows == kept.num_rows + dropped.num_rows,
                    f"{read.num_rows} in, {kept.num_rows} kept + {dropped.num_rows} dropped",
                    key=key["dedup_corpus"],
                ),
                check(
                    "no_exact_duplicate",
                    distinct == len(texts),
                    f"{len(texts)} documents, {distinct} distinct normalised texts",
                    key=key["dedup_corpus"],
                ),
                check(
                    "duplicate_rate",
                    rate <= NEAR_DUPLICATES_WARN,
                    f"{rate:.1%} of the documents were duplicates",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key["dedup_corpus"],
                    rate=rate,
                ),
            ],
            metadata={
                "text_lengths": picture(
                    histogram([len(text) for text in texts], "characters per document"),
                    "text lengths",
                ),
            },
        )
        methods = dropped.group_by("method").aggregate([([], "count_all")]).to_pylist()
        yield stored(
            stage_table(store_root(), DUPLICATES, dropped.to_batches()),
            key=[spec.name, "duplicates"],
            metadata={"by_method": dg.MetadataValue.md(markdown_table(methods))},
        )

    return [source_files, raw_corpus, valid_corpus, dedup_corpus]
