"""Assets of the gate between people's labels and training: decisions, agreement_report,
batch_verdicts, adjudication_queue.
"""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    GROWING,
    check,
    markdown_table,
    outs,
    picture,
    stored,
    watched_files,
)

VERSION = "4"
SHOWN = 40  # rows of a table on a page


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """What people decided, how far annotators agree, and what is to be decided."""
    return [
        watched_files(
            spec, stage, "decision_files", "The files of people's decisions on disputed items."
        ),
        build_decisions(spec, stage),
        build_agreement(spec, stage),
    ]


def build_decisions(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """`decisions` and the rows that can't be used."""
    key = [spec.name, "decisions"]

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "decisions": "What a person said of a disputed item: who, when and why (SPEC D8).",
                "rejected_decisions": "Decisions without name, time or reason, or against the "
                "label standard.",
            },
            version=VERSION,
            reads=[
                "agreement.decisions",
                "task",
                *(["clean", "language"] if spec.task.has_spans else []),
            ],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "rows_conserved",
                asset=key,
                blocking=True,
                description="Rows read = decisions + rejected + left open + about forgotten items.",
            ),
            dg.AssetCheckSpec(
                "decisions_usable",
                asset=key,
                description="Warns of rows that can't be used; they are in rejected_decisions.",
            ),
        ],
        name=f"{spec.name}__decisions",
        ins={
            "dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"]),
            "duplicates": dg.AssetIn([spec.name, "duplicates"]),
        },
        deps=[[spec.name, "decision_files"]],
    )
    def decisions(dedup_corpus: Table, duplicates: Table):
        from vertical_assets.labels.adjudication.decisions import read_decisions
        from vertical_assets.labels.items import items_of, needed_columns
        from vertical_assets.store.contracts import QUARANTINE
        from vertical_assets.store.label_contracts import DECISIONS
        from vertical_assets.store.tables import stage_table

        documents = dedup_corpus.read(needed_columns(spec))
        found = read_decisions(spec, items_of(spec, documents, duplicates.read()))
        made, bad = found.decisions, found.rejected
        yield stored(
            stage_table(store_root(), DECISIONS, made.to_batches(), spec.sensitive),
            key=key,
            checks=[
                check(
                    "rows_conserved",
                    found.conserved,
                    f"{found.read} rows, {made.num_rows} decisions + {bad.num_rows} rejected + "
                    f"{found.open} open + {found.forgotten} about forgotten documents",
                    key=key,
                ),
                check(
                    "decisions_usable",
                    not bad.num_rows,
                    f"{bad.num_rows} of {found.read} rows can't be used",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key,
                ),
            ],
        )
        yield stored(
            stage_table(store_root(), QUARANTINE, bad.to_batches(), spec.sensitive),
            key=[spec.name, "rejected_decisions"],
        )

    return decisions


def build_agreement(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """`agreement_report`, `batch_verdicts` and `adjudication_queue`: one step, so that a gate that
    fails hides neither the verdicts nor what is to be done.
    """
    key = [spec.name, "agreement_report"]

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "agreement_report": "How far annotators agree: alpha with its interval, over the "
                "accepted batches, by batch, class, pair and annotator (SPEC D8).",
                "batch_verdicts": "Which batches may be learnt from, and why (SPEC D8).",
                "adjudication_queue": "Items that a person has to decide; also the file "
                "adjudication/queue.jsonl of the drop folder.",
            },
            version=VERSION,
            reads=["agreement", "task", "seed"],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "alpha",
                asset=key,
                blocking=True,
                description="A batch is accepted or adjudicated, and Krippendorff's alpha of the "
                f"accepted ones is >= {spec.agreement.alpha} (SPEC D8).",
            ),
            dg.AssetCheckSpec(
                "batches_agree",
                asset=key,
                description="Warns of refused batches, by name; they never enter labeled_set.",
            ),
        ],
        name=f"{spec.name}__agreement_report",
        ins={
            "annotations": dg.AssetIn([spec.name, "annotations"], metadata={GROWING: True}),
            "decisions": dg.AssetIn([spec.name, "decisions"]),
            "dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"]),
        },
        deps=[[spec.name, "batches"]],
    )
    def agreement_report(annotations: Table, decisions: Table, dedup_corpus: Table):
        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.labels.adjudication.decisions import standing
        from vertical_assets.labels.adjudication.queue import export_queue, queue_of
        from vertical_assets.labels.adjudication.verdicts import (
            REFUSED,
            batches_with,
            gate_of,
            judge,
            report_of,
        )
        from vertical_assets.labels.aggregation import annotator_quality
        from vertical_assets.labels.agreement import pair_heat_map
        from vertical_assets.labels.votes import by_people
        from vertical_assets.plots import heat_map, intervals
        from vertical_assets.store.contracts import ADJUDICATION, AGREEMENT
        from vertical_assets.store.label_contracts import BATCH_VERDICTS
        from vertical_assets.store.tables import stage_table

        if not annotations.paths:
            raise dg.Failure(
                "there is no batch of labels yet; drop files of people's labels below "
                f"{drop_folder(spec.name)} ({spec.annotation.path}), see the label standard",
                allow_retries=False,
            )
        said, decided = annotations.read(), standing(decisions.read())
        texts = dedup_corpus.read(["doc_id", "text"])
        people = by_people(said)
        verdicts = judge(said, decided, spec)
        report = report_of(said, verdicts, spec)
        queue = queue_of(
            said,
            verdicts,
            decided,
            dict(zip(texts["doc_id"].to_pylist(), texts["text"].to_pylist(), strict=True)),
            spec,
        )
        file = export_queue(queue, drop_folder(spec.name), spec)
        gate = gate_of(report, verdicts, spec)
        refused = batches_with(verdicts, [REFUSED])
        alphas, names = pair_heat_map(report)
        rows, judged = report.to_pylist(), verdicts.to_pylist()
        by_pair = (
            {"pairs": picture(heat_map(alphas, names, "annotator", "annotator"), "alpha by pair")}
            if names
            else {}  # nobody shares an item with another
        )
        by_scope = {
            scope: dg.MetadataValue.md(
                markdown_table([row for row in rows if row["scope"] == scope][:SHOWN])
            )
            for scope in dict.fromkeys(row["scope"] for row in rows)
        }
        yield stored(
            stage_table(store_root(), AGREEMENT, report.to_batches(), spec.sensitive),
            key=key,
            checks=[
                check("alpha", gate.passed, gate.why, key=key, alpha=gate.value, bar=gate.bar),
                check(
                    "batches_agree",
                    not refused,
                    "; ".join(
                        f"{row['batch']}: {row['reason']}"
                        for row in judged
                        if row["verdict"] == REFUSED
                    )[:2000]
                    or "no batch is refused",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key,
                    refused=len(refused),
                ),
            ],
            metadata={
                **({} if gate.value is None else {"alpha": gate.value}),
                "statements_of_machines": said.num_rows - people.num_rows,
                **by_scope,
                **by_pair,
                "alpha_over_batches": picture(
                    intervals(
                        [row["batch"] for row in judged],
                        [(row["alpha"], row["low"], row["high"]) for row in judged],
                        spec.agreement.alpha,
                        "Krippendorff's alpha",
                    ),
                    "alpha over batches",
                ),
                "annotator_quality": dg.MetadataValue.md(
                    markdown_table(
                        annotator_quality(people, spec).drop_columns(["confusion"]).to_pylist()
                    )
                ),
            },
        )
        yield stored(
            stage_table(store_root(), BATCH_VERDICTS, verdicts.to_batches(), spec.sensitive),
            key=[spec.name, "batch_verdicts"],
            metadata={"verdicts": dg.MetadataValue.md(markdown_table(judged[-SHOWN:], cell=90))},
        )
        shown = queue.select(["text", "votes", "dispute", "batches", "item_id"])
        yield stored(
            stage_table(store_root(), ADJUDICATION, queue.to_batches(), spec.sensitive),
            key=[spec.name, "adjudication_queue"],
            metadata={
                "file": str(file),
                **(
                    {}
                    if spec.sensitive
                    else {
                        "disputed": dg.MetadataValue.md(
                            markdown_table(shown.slice(0, SHOWN).to_pylist())
                        )
                    }
                ),
            },
        )

    return agreement_report
