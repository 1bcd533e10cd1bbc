"""Assets of the corpus, from the sources to one clean document per cluster of duplicates."""

import dagster as dg

from vertical_assets.corpus import VERSION
from vertical_assets.corpus.authors import assets as authors
from vertical_assets.corpus.review import assets as review
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    check,
    counts_table,
    markdown_table,
    outs,
    picture,
    stored,
    watched_files,
    writer,
)

STAGE = "corpus"
SKETCHES_ENTRY = "_sketches"  # in the store, beside the assets: work that is kept for next time
DUPLICATES_WARN = 0.5  # share from which a source is probably collected twice


def sources_of(spec: VerticalSpec) -> dg.StaticPartitionsDefinition:
    """One partition per source."""
    return dg.StaticPartitionsDefinition([source.name for source in spec.sources])


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The corpus assets of one vertical."""
    return [
        *collecting(spec),
        *sorting(spec),
        *authors.build_assets(spec, STAGE),
        *cleaning(spec),
        *deduplicating(spec),
        *review.build_assets(spec, STAGE),
    ]


def collecting(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """source_files, raw_corpus."""
    partitions = sources_of(spec)
    source_files = watched_files(
        spec,
        STAGE,
        "source_files",
        "The files behind each source (SPEC D2), and the tombstones of its forgotten documents: "
        "what `raw_corpus` is out of date against.",
        spec.source_names,
    )

    @dg.asset(
        **spec.asset(
            STAGE,
            "raw_corpus",
            version=VERSION,
            reads=["sources", "language"],
            kinds={"parquet"},
        ),
        partitions_def=partitions,
        deps=[[spec.name, "source_files"]],
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=[spec.name, "raw_corpus"],
                blocking=True,
                description="Every row that was read is stored, as document or with a reason, or "
                "was forgotten at somebody's request.",
            )
        ],
    )
    def raw_corpus(context: dg.AssetExecutionContext):
        """Documents as collected, one partition per source (SPEC D2).

        Rows that can't be documents (broken, undecodable) stay here with `rule` and `reason`
        filled and go to `quarantine` in the next step. Files that did not change are not read
        again.
        """
        from vertical_assets.corpus.flow import collect
        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.store import tombstones
        from vertical_assets.store.contracts import RAW_DOCUMENTS

        source, folder = spec.source(context.partition_key), drop_folder(spec.name)
        raw = writer(spec, "raw_corpus", RAW_DOCUMENTS, partition=source.name)
        try:
            collect(source, spec, folder, tombstones.read(folder / tombstones.FILE), raw)
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        seen = raw.figures
        if seen["rejected"] == raw.rows and not seen["forgotten"]:
            reasons = (r for b in raw.staged.batches(["reason"]) for r in b["reason"].to_pylist())
            raise dg.Failure(
                f"source {source.name!r} gave no document: {next(reasons, 'no rows')}",
                allow_retries=False,
            )
        return stored(
            raw.close(),
            checks=[
                check(
                    "rows_conserved",
                    seen["read"] == raw.rows + seen["forgotten"],
                    f"{seen['read']} rows read, {raw.rows} stored + {seen['forgotten']} forgotten",
                )
            ],
            metadata={
                "source": source.name,
                "kind": source.kind,
                "licence": source.licence,
                "documents": raw.rows - seen["rejected"],
                "rejected_rows": seen["rejected"],
                "characters": seen["characters"],
                "files_read": raw.made,
                "files_unchanged": len(raw.parts) - raw.made,
            },
        )

    return [source_files, raw_corpus]


def sorting(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """valid_corpus, quarantine."""
    valid_key = [spec.name, "valid_corpus"]

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
            reads=["rules", "clean", "source_names"],
            kinds={"parquet", "greatexpectations"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=valid_key,
                blocking=True,
                description="Rows in = rows valid + rows quarantined.",
            ),
            dg.AssetCheckSpec(
                "ids_unique", asset=valid_key, blocking=True, description="No id stands twice."
            ),
            dg.AssetCheckSpec(
                "great_expectations",
                asset=valid_key,
                blocking=True,
                description="Great Expectations' suite over the valid documents.",
            ),
        ],
        name=f"{spec.name}__valid_corpus",
        ins={"raw_corpus": dg.AssetIn([spec.name, "raw_corpus"])},
    )
    def valid_corpus(raw_corpus: Table):
        from datetime import UTC, datetime

        from vertical_assets.corpus.flow import sort_out
        from vertical_assets.corpus.validity.diversity import Diversity
        from vertical_assets.corpus.validity.expectations import (
            VALIDATED,
            docs_folder,
            validate_new,
        )
        from vertical_assets.corpus.validity.ids import repeated
        from vertical_assets.store.contracts import DOCUMENTS, QUARANTINE

        valid = writer(spec, "valid_corpus", DOCUMENTS)
        bad = writer(spec, "quarantine", QUARANTINE)
        today, docs = datetime.now(UTC).date(), docs_folder(spec.name)
        sort_out(raw_corpus, spec, today, valid, bad)
        # Pages that show failing values are not for sensitive texts.
        before = valid.figures[VALIDATED]
        outcomes = validate_new(valid, spec, None if spec.sensitive else docs, today=today)
        twice = sum(
            int(m.sum()) for m in repeated(b["doc_id"] for b in valid.staged.batches(["doc_id"]))
        )
        failed = [outcome for outcome in outcomes if not outcome.passed]
        figures = valid.figures
        figures.pop(VALIDATED, None)
        diversity = Diversity.of(figures)
        yield stored(
            valid.close(),
            key=valid_key,
            checks=[
                check(
                    "rows_conserved",
                    raw_corpus.rows == valid.rows + bad.rows,
                    f"{raw_corpus.rows} rows in, {valid.rows} valid + {bad.rows} quarantined",
                    key=valid_key,
                ),
                check(
                    "ids_unique",
                    not twice,
                    f"{twice} of {valid.rows} ids stand twice",
                    key=valid_key,
                ),
                check(
                    "great_expectations",
                    not failed,
                    f"{len(outcomes) - len(failed)} of {len(outcomes)} expectations met"
                    f" by {valid.rows - before} new rows; {before} met them before"
                    + "".join(
                        f"; {o.column}: {o.name} failed {o.unexpected} times" for o in failed
                    ),
                    key=valid_key,
                    outcomes=dg.MetadataValue.md(markdown_table([vars(o) for o in outcomes])),
                ),
            ],
            metadata={
                "sources": dg.MetadataValue.md(markdown_table(diversity.table())),
                "effective_sources": diversity.effective_sources(),
                **(
                    {}
                    if spec.sensitive
                    else {"data_docs": dg.MetadataValue.url((docs / "index.html").as_uri())}
                ),
            },
        )
        yield stored(
            bad.close(),
            key=[spec.name, "quarantine"],
            metadata={"by_rule": counts_table(bad.figures, "source", "rule")},
        )

    return [valid_corpus]


def cleaning(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """clean_corpus and, where there are any, dictionary_files."""
    dictionary_files = watched_files(
        spec,
        STAGE,
        "dictionary_files",
        "The lists of terms and of people's names that the corpus is cleaned by (SPEC D9, X1).",
    )
    watched = [dictionary_files] if spec.dictionaries else []
    key = [spec.name, "clean_corpus"]
    ins = {"valid_corpus": dg.AssetIn([spec.name, "valid_corpus"])}
    if spec.deidentify.attributes is not None:
        ins["author_attributes"] = dg.AssetIn([spec.name, "author_attributes"])

    @dg.asset(
        **spec.asset(
            STAGE,
            "clean_corpus",
            version=VERSION,
            reads=["deidentify", "clean", "language"],
            kinds={"parquet"},
        ),
        ins=ins,
        deps=[each.key for each in watched],
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=key,
                blocking=True,
                description="Documents in = documents out.",
            ),
            dg.AssetCheckSpec(
                "no_personal_data",
                asset=key,
                blocking=True,
                description="A second pass finds no personal data (SPEC X1).",
            ),
            dg.AssetCheckSpec(
                "numbers_normalised",
                asset=key,
                description="A second pass finds no number to rewrite (SPEC D10).",
            ),
        ],
    )
    def clean_corpus(valid_corpus: Table, **authors: Table):
        """De-identified, normalised and segmented documents (SPEC X1, D9, D10).

        `changes` says what was replaced in each, by type and place, never the value itself.
        """
        from vertical_assets.corpus.cleaning.pipeline import NUMBERS
        from vertical_assets.corpus.flow import clean
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.store.contracts import CLEAN_DOCUMENTS

        cleaned, folder = writer(spec, "clean_corpus", CLEAN_DOCUMENTS), drop_folder(spec.name)
        clean(valid_corpus, spec, folder, cleaned, authors.get("author_attributes"))
        counts = cleaned.figures
        left = {k.removeprefix("left\t"): n for k, n in counts.items() if k.startswith("left\t")}
        numbers = left.pop(NUMBERS, 0)
        return stored(
            cleaned.close(),
            checks=[
                check(
                    "rows_conserved",
                    valid_corpus.rows == cleaned.rows,
                    f"{valid_corpus.rows} documents in, {cleaned.rows} out",
                ),
                check(
                    "no_personal_data",
                    not left,
                    "a second pass found "
                    + (", ".join(f"{n} {kind}" for kind, n in left.items()) or "nothing"),
                ),
                check(
                    "numbers_normalised",
                    not numbers,
                    f"a second pass would rewrite {numbers} numbers",
                    severity=dg.AssetCheckSeverity.WARN,
                    numbers=numbers,
                ),
            ],
            metadata={"changes": counts_table(counts, "step", "what")},
        )

    return [*watched, clean_corpus]


def deduplicating(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """dedup_corpus, duplicates."""
    key = [spec.name, "dedup_corpus"]
    conflict_check = dg.AssetCheckSpec(
        "label_conflicts",
        asset=key,
        description=f"Warns of texts that were collected with two values of {spec.dedup.label!r}.",
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
            reads=["dedup", "language", "seed", "source_names"],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=key,
                blocking=True,
                description="Documents in = documents kept + documents dropped.",
            ),
            dg.AssetCheckSpec(
                "no_exact_duplicate",
                asset=key,
                blocking=True,
                description="No two kept documents have the same normalised text.",
            ),
            dg.AssetCheckSpec(
                "duplicate_rate",
                asset=key,
                description="Warns where most of the corpus are duplicates.",
            ),
            *([conflict_check] if spec.dedup.label else []),
        ],
        name=f"{spec.name}__dedup_corpus",
        ins={"clean_corpus": dg.AssetIn([spec.name, "clean_corpus"])},
    )
    def dedup_corpus(clean_corpus: Table):
        from collections import Counter

        from vertical_assets.corpus.dedup.label_conflicts import label_conflicts
        from vertical_assets.corpus.flow import SKETCHES, deduplicate, distinct_texts
        from vertical_assets.plots import histogram
        from vertical_assets.store.contracts import DEDUP_DOCUMENTS, DUPLICATES
        from vertical_assets.store.versions import commit

        kept = writer(spec, "dedup_corpus", DEDUP_DOCUMENTS)
        dropped = writer(spec, "duplicates", DUPLICATES)
        sketches = writer(spec, SKETCHES_ENTRY, SKETCHES)
        deduplicate(clean_corpus, spec, kept, dropped, sketches)
        commit(sketches.close(), store_root() / spec.name / SKETCHES_ENTRY)
        distinct, lengths = distinct_texts(kept.staged)
        checks, conflicts = [], []
        if spec.dedup.label:
            conflicts = [
                {
                    "text": row["text"],
                    "labels": ", ".join(
                        f"{count} {label}" for label, count in Counter(row["labels"]).items()
                    ),
                }
                for row in label_conflicts(clean_corpus.batches, spec.dedup.label).to_pylist()
            ]
            checks.append(
                check(
                    "label_conflicts",
                    not conflicts,
                    f"{len(conflicts)} texts carry several values of {spec.dedup.label!r}",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key,
                    texts=len(conflicts),
                )
            )
        rate = dropped.rows / clean_corpus.rows
        yield stored(
            kept.close(),
            key=key,
            checks=[
                check(
                    "rows_conserved",
                    clean_corpus.rows == kept.rows + dropped.rows,
                    f"{clean_corpus.rows} in, {kept.rows} kept + {dropped.rows} dropped",
                    key=key,
                ),
                check(
                    "no_exact_duplicate",
                    distinct == kept.rows,
                    f"{kept.rows} documents, {distinct} distinct normalised texts",
                    key=key,
                ),
                check(
                    "duplicate_rate",
                    rate <= DUPLICATES_WARN,
                    f"{rate:.1%} of the documents were duplicates",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key,
                    rate=rate,
                ),
                *checks,
            ],
            metadata={
                "text_lengths": picture(
                    histogram(lengths.tolist(), "characters per document"), "text lengths"
                ),
            },
        )
        yield stored(
            dropped.close(),
            key=[spec.name, "duplicates"],
            metadata={
                "by_method": counts_table(dropped.figures, "method"),
                # Texts of a sensitive vertical are shown nowhere.
                "label_conflicts": dg.MetadataValue.md(
                    markdown_table([] if spec.sensitive else conflicts[:50])
                ),
            },
        )

    return [dedup_corpus]
