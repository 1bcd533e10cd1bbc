"""Assets of the review: spot_check, and the files that people's verdicts come in."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, stored, watched_files

VERSION = "1"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """verdict_files, spot_check."""
    key = [spec.name, "spot_check"]
    verdict_files = watched_files(
        spec,
        stage,
        "verdict_files",
        "People's verdicts on the spot check, CSV or Label Studio's export.",
    )

    @dg.asset(
        **spec.asset(
            stage, "spot_check", version=VERSION, reads=["spot_check", "seed"], kinds={"parquet"}
        ),
        ins={"dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"])},
        deps=[[spec.name, "verdict_files"]],
        check_specs=[
            dg.AssetCheckSpec(
                "validity",
                asset=key,
                description=f"Warns where people find fewer than {spec.spot_check.validity:.0%} of "
                "the judged documents valid (SPEC D5).",
            ),
            dg.AssetCheckSpec(
                "verdicts_read",
                asset=key,
                description="Warns of verdicts that can't be read or are not about the sample.",
            ),
        ],
    )
    def spot_check(dedup_corpus: Table):
        """A stratified sample for people's verdicts, and what they said (SPEC D5).

        `data/<vertical>/spot_check/` has it as `sample.csv` and as Label Studio's tasks; filled-in
        copies go beside it as `verdicts*.csv` or `verdicts*.json`.
        """
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.corpus.review.spot_check import draw_sample, judge, validity
        from vertical_assets.corpus.review.verdicts import (
            VerdictError,
            export_sample,
            read_verdicts,
            verdict_files,
        )
        from vertical_assets.store.contracts import SPOT_CHECK
        from vertical_assets.store.tables import stage_table

        folder, policy = drop_folder(spec.name), spec.spot_check
        documents = dedup_corpus.batches(["doc_id", "source", "language", "text"])
        sample = draw_sample(documents, policy.size, spec.seed)
        try:
            files = export_sample(sample, folder / "spot_check")
        except VerdictError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        read = read_verdicts(verdict_files(policy, folder))
        judged = judge(sample, read.verdicts)
        rates = validity(judged.sample).to_pylist()
        overall, rejected = rates[0], read.rejected.num_rows
        return stored(
            stage_table(store_root(), SPOT_CHECK, judged.sample.to_batches(), spec.sensitive),
            checks=[
                check(
                    "validity",
                    overall["rate"] is None or overall["rate"] >= policy.validity,
                    f"{overall['judged']} of {overall['sampled']} judged; "
                    + (
                        "nobody has judged yet"
                        if overall["rate"] is None
                        else f"{overall['rate']:.1%} valid (95 % Wilson interval "
                        f"{overall['low']:.1%} to {overall['high']:.1%})"
                    ),
                    severity=dg.AssetCheckSeverity.WARN,
                ),
                check(
                    "verdicts_read",
                    not rejected and not judged.outside,
                    f"{read.rows} rows: {read.verdicts.num_rows} verdicts ({judged.outside} about "
                    f"other documents), {read.unjudged} unjudged, {rejected} not readable",
                    severity=dg.AssetCheckSeverity.WARN,
                    rejected=dg.MetadataValue.md(markdown_table(read.rejected.to_pylist()[:20])),
                ),
            ],
            metadata={
                "validity": dg.MetadataValue.md(markdown_table(rates)),
                "files": ", ".join(map(str, files)),
            },
        )

    return [verdict_files, spot_check]
