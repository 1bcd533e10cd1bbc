"""Assets about authors, for verticals that say `deidentify.attributes`: author_attributes,
author_statistics.
"""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, stored

VERSION = "1"
LONGEST = 1000  # characters that a text counts with in the mean: bounds one person's influence


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """author_attributes, author_statistics; none where no attributes are named."""
    attributes = spec.deidentify.attributes
    if attributes is None:
        return []
    key = [spec.name, "author_attributes"]

    @dg.asset(
        **spec.asset(
            stage,
            "author_attributes",
            version=VERSION,
            reads=["deidentify.attributes"],
            kinds={"parquet"},
        ),
        ins={"valid_corpus": dg.AssetIn([spec.name, "valid_corpus"])},
        check_specs=[
            dg.AssetCheckSpec(
                "k_anonymity",
                asset=key,
                blocking=True,
                description=f"Every combination of values is shared by {attributes.k} people, as "
                "pycanon counts (SPEC X1).",
            )
        ],
    )
    def author_attributes(valid_corpus: Table):
        """What may be said of authors: attributes generalised until k people are alike (SPEC X1).

        `clean_corpus` has these values in `meta` instead of the exact ones.
        """
        from vertical_assets.corpus.authors.anonymity import author_attributes
        from vertical_assets.store.contracts import AUTHOR_ATTRIBUTES
        from vertical_assets.store.tables import stage_table

        found = author_attributes(valid_corpus.batches(["doc_id", "author_id", "meta"]), attributes)
        report = found.report
        return stored(
            stage_table(store_root(), AUTHOR_ATTRIBUTES, found.rows.to_batches(), spec.sensitive),
            checks=[
                check(
                    "k_anonymity",
                    report.k is None or report.k >= attributes.k,
                    f"k = {report.k} (wanted {attributes.k}), l = {report.l}, t = {report.t}",
                )
            ],
            metadata={"anonymity": dg.MetadataValue.md(markdown_table([vars(report)]))},
        )

    @dg.asset(
        **spec.asset(
            stage,
            "author_statistics",
            version=VERSION,
            reads=["deidentify.attributes", "source_names"],
            kinds={"parquet"},
        ),
        ins={"clean_corpus": dg.AssetIn([spec.name, "clean_corpus"])},
    )
    def author_statistics(clean_corpus: Table):
        """Counts of documents and mean text length by source, with noise (SPEC X1).

        Differentially private: an author's one document more or less hardly changes a figure. The
        ledger beside the sources accounts for what all releases together have spent.
        """
        from pathlib import Path

        import pyarrow as pa
        import pyarrow.compute as pc

        from vertical_assets.corpus.authors.privacy_budget import BudgetExhaustedError, Ledger
        from vertical_assets.corpus.authors.private_release import release_counts, release_mean
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.store.atomic import is_local
        from vertical_assets.store.contracts import PRIVATE_RELEASE
        from vertical_assets.store.tables import stage_table

        file = drop_folder(spec.name) / "privacy_ledger.jsonl"
        if not is_local(file):
            raise dg.Failure(
                f"{file} holds what was spent of the privacy budget, under a lock that only a "
                "file system has; let VERTICAL_DATA be a folder",
                allow_retries=False,
            )
        ledger = Ledger(Path(file.path), attributes.epsilon, attributes.delta)
        documents = clean_corpus.read(["doc_id", "author_id", "source", "text"])
        documents = documents.append_column(
            "characters", pc.utf8_length(documents["text"]).cast(pa.float64())
        )
        version, share = clean_corpus.version, attributes.epsilon_per_release / 2
        try:
            counts = release_counts(documents, ledger, version, share, "source", spec.source_names)
            means = release_mean(
                documents, "characters", (0, LONGEST), ledger, version, share, "source",
                spec.source_names,
            )  # fmt: skip
        except BudgetExhaustedError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        released = pa.concat_tables([counts, means])
        return stored(
            stage_table(store_root(), PRIVATE_RELEASE, released.to_batches(), spec.sensitive),
            metadata={
                "released": dg.MetadataValue.md(markdown_table(released.to_pylist())),
                "epsilon_spent": ledger.spent(),
                "epsilon_left": ledger.left(),
                "delta": attributes.delta,
            },
        )

    return [author_attributes, author_statistics]
