"""Assets of the gold labels: labeled_set, contamination."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    check,
    markdown_table,
    outs,
    picture,
    stored,
)

VERSION = "1"
FEWEST_PER_CLASS = 10  # training items under which a class can hardly be learnt


def build_labeled_set(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """One gold target per item, and what waits for a decision."""
    key = {
        name: [spec.name, name]
        for name in ("annotations", "agreement_report", "labeled_set", "dedup_corpus")
    }
    simulated = spec.annotation.simulate is not None
    who = "simulated annotators, not people" if simulated else "people"

    @dg.multi_asset(
        outs=outs(
            spec,
            stage,
            {
                "labeled_set": f"One gold target per item, and its split. Labels of {who}.",
                "adjudication_queue": "Items on which annotators are split.",
            },
            version=VERSION,
            reads=["task", "split", "dedup", "language", "seed"],
            kinds={"parquet"},
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "items_conserved",
                asset=key["labeled_set"],
                blocking=True,
                description="Annotated items = labelled items + disputed items.",
            ),
            dg.AssetCheckSpec(
                "no_leakage",
                asset=key["labeled_set"],
                blocking=True,
                description="No group, text or near duplicate stands in two splits.",
            ),
            dg.AssetCheckSpec(
                "class_balance",
                asset=key["labeled_set"],
                description=f"Every class has {FEWEST_PER_CLASS} training items and is tested.",
            ),
        ],
        name=f"{spec.name}__labeled_set",
        ins={
            "annotations": dg.AssetIn(key["annotations"]),
            "dedup_corpus": dg.AssetIn(key["dedup_corpus"]),
        },
        deps=[key["agreement_report"]],
    )
    def labeled_set(annotations: Table, dedup_corpus: Table):
        from vertical_assets.labels.balance import balance, rare
        from vertical_assets.labels.gold.majority import items_in, majority
        from vertical_assets.labels.splits import find_leakage
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import ADJUDICATION, LABELED
        from vertical_assets.store.tables import stage_table

        said = annotations.read()
        gold = majority(said, dedup_corpus.read(), spec)
        items = items_in(said)
        leakage = find_leakage(gold.labeled, spec)
        counts = balance(gold.labeled, spec)
        missing = rare(counts, spec, FEWEST_PER_CLASS)
        splits = gold.labeled["split"].to_pylist()
        yield stored(
            stage_table(store_root(), LABELED, gold.labeled.to_batches(), spec.sensitive),
            key=key["labeled_set"],
            checks=[
                check(
                    "items_conserved",
                    items == gold.labeled.num_rows + gold.disputed.num_rows,
                    f"{items} items, {gold.labeled.num_rows} labelled + "
                    f"{gold.disputed.num_rows} disputed",
                    key=key["labeled_set"],
                ),
                check(
                    "no_leakage",
                    leakage.total == 0,
                    f"found in two splits: {leakage.same_group} groups, {leakage.exact} texts, "
                    f"{leakage.near} near duplicates",
                    key=key["labeled_set"],
                ),
                check(
                    "class_balance",
                    not missing,
                    f"rare or untested: {', '.join(missing)}"
                    if missing
                    else "every class is present",
                    severity=dg.AssetCheckSeverity.WARN,
                    key=key["labeled_set"],
                ),
            ],
            metadata={
                **{split: splits.count(split) for split in counts},
                "label_distribution": picture(
                    bars(counts, "spans" if spec.task.kind == "entities" else "items"),
                    "label distribution",
                ),
            },
        )
        yield stored(
            stage_table(store_root(), ADJUDICATION, gold.disputed.to_batches(), spec.sensitive),
            key=[spec.name, "adjudication_queue"],
        )

    return labeled_set


def build_contamination(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """Test items that models may have seen as documents."""
    key = {name: [spec.name, name] for name in ("labeled_set", "dedup_corpus")}

    @dg.asset(
        **spec.asset(
            stage,
            "contamination",
            version=VERSION,
            reads=["dedup.unit", "language"],
            kinds={"parquet"},
        ),
        ins={
            "labeled_set": dg.AssetIn(key["labeled_set"]),
            "dedup_corpus": dg.AssetIn(key["dedup_corpus"]),
        },
        check_specs=[
            dg.AssetCheckSpec(
                "test_items_unseen",
                asset=[spec.name, "contamination"],
                description="Warns where texts of test items stand in documents that models see.",
            )
        ],
    )
    def contamination(labeled_set: Table, dedup_corpus: Table):
        """Test items whose text is found in other documents of the corpus (SPEC D3).

        By shared n-grams of 13 words or characters (Brown et al. 2020, appendix C), hence also
        where a test item is a part of a longer document.
        """
        import pyarrow.compute as pc

        from vertical_assets.corpus.dedup.contamination import find_contamination
        from vertical_assets.labels.splits import TEST
        from vertical_assets.store.contracts import CONTAMINATION
        from vertical_assets.store.tables import stage_table

        items = labeled_set.read(["item_id", "text", "split"])
        items = items.filter(pc.equal(items["split"], TEST)).drop_columns(["split"])
        items = items.group_by(["item_id", "text"], use_threads=False).aggregate([])
        found = find_contamination(
            items,
            dedup_corpus.batches(["doc_id", "text"]),
            unit="word" if spec.spaced else "character",
            leave_out=items["item_id"].to_pylist(),
        )
        touched = pc.count_distinct(found["item_id"]).as_py()
        return stored(
            stage_table(store_root(), CONTAMINATION, found.to_batches(), spec.sensitive),
            checks=[
                check(
                    "test_items_unseen",
                    not touched,
                    f"text of {touched} of {items.num_rows} test items stands in other documents",
                    severity=dg.AssetCheckSeverity.WARN,
                    items=touched,
                )
            ],
            metadata={
                "by_kind": dg.MetadataValue.md(
                    markdown_table(
                        found.group_by("kind").aggregate([([], "count_all")]).to_pylist()
                    )
                )
            },
        )

    return contamination
