"""Assets of the labels of a generation vertical: labeled_set.

Free text has no alpha: nobody labels here, the pairs are the sources' own, and there are no
`annotations` and no `agreement_report`.
"""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import check, markdown_table, outs, picture, stored

VERSION = "1"
FEWEST_PER_TYPE = 10  # training pairs under which a type of question can hardly be learnt


def build_labeled_set(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """`labeled_set` of a generation vertical, and the pairs that break its standard."""
    key = [spec.name, "labeled_set"]

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "labeled_set": "Pairs of a prompt and its answer, as the sources have them, and "
                "their split (SPEC D6).",
                "rejected_annotations": "Prompts that break the label standard, with the reason.",
            },
            version=VERSION,
            reads=["annotation.pairs", "task", "split", "dedup", "language", "seed"],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "items_conserved",
                asset=key,
                blocking=True,
                description="Documents = pairs + rejected pairs + documents without a prompt; "
                "there are pairs to learn from and to test on.",
            ),
            dg.AssetCheckSpec(
                "no_leakage",
                asset=key,
                blocking=True,
                description="No group, text or near duplicate stands in two splits.",
            ),
            dg.AssetCheckSpec(
                "type_balance",
                asset=key,
                description=f"Every type of question has {FEWEST_PER_TYPE} training pairs and is "
                "tested.",
            ),
        ],
        name=f"{spec.name}__labeled_set",
        ins={"dedup_corpus": dg.AssetIn([spec.name, "dedup_corpus"])},
    )
    def labeled_set(dedup_corpus: Table):
        from vertical_assets.labels.generation.pairs import find_pairs
        from vertical_assets.labels.splits import TEST, TRAIN, VALIDATION, find_leakage
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import PAIRS, QUARANTINE
        from vertical_assets.store.tables import stage_table

        documents = dedup_corpus.read(["doc_id", "source", "origin", "text", "meta", "cluster_id"])
        found = find_pairs(documents, spec)
        if not found.pairs.num_rows:
            raise dg.Failure(
                f"none of the {documents.num_rows} documents carries a prompt; name the entry of "
                "`meta` that holds it under 'annotation.pairs.prompt'",
                allow_retries=False,
            )
        leakage = find_leakage(found.pairs, spec)
        types = list(spec.task.question_types) or ["all"]
        counts = {split: dict.fromkeys(types, 0) for split in (TRAIN, VALIDATION, TEST)}
        for row in found.pairs.select(["split", "label"]).to_pylist():
            counts[row["split"]][row["label"] or "all"] += 1
        rare = [
            kind
            for kind in types
            if counts[TRAIN][kind] < FEWEST_PER_TYPE or not counts[TEST][kind]
        ]
        pairs, rejected = found.pairs.num_rows, found.rejected.num_rows
        everywhere = all(sum(by_type.values()) for by_type in counts.values())
        yield stored(
            stage_table(store_root(), PAIRS, found.pairs.to_batches(), spec.sensitive),
            key=key,
            checks=[
                check(
                    "items_conserved",
                    documents.num_rows == pairs + rejected + found.without_prompt and everywhere,
                    f"{documents.num_rows} documents, {pairs} pairs + {rejected} rejected + "
                    f"{found.without_prompt} without a prompt"
                    + ("" if everywhere else "; a split has no pair"),
                    key=key,
                ),
                check(
                    "no_leakage",
                    leakage.total == 0,
                    f"found in two splits: {leakage.same_group} groups, {leakage.exact} texts, "
                    f"{leakage.near} near duplicates",
                    key=key,
                ),
                check(
                    "type_balance",
                    not rare,
                    f"rare or untested: {', '.join(rare)}" if rare else "every type is present",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key,
                ),
            ],
            metadata={
                **{split: sum(by_type.values()) for split, by_type in counts.items()},
                "question_types": dg.MetadataValue.md(
                    markdown_table(
                        [
                            {"type": t, "definition": q.definition}
                            for t, q in spec.task.questions.items()
                        ]
                    )
                ),
                "type_distribution": picture(bars(counts, "pairs"), "types of questions"),
            },
        )
        yield stored(
            stage_table(store_root(), QUARANTINE, found.rejected.to_batches(), spec.sensitive),
            key=[spec.name, "rejected_annotations"],
        )

    return labeled_set
