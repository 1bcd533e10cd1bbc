"""Assets of the gold labels: labeled_set, contamination, label_errors."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    GROWING,
    check,
    markdown_table,
    picture,
    stored,
)

VERSION = "3"
FEWEST_PER_CLASS = 10  # training items under which a class can hardly be learnt
SHOWN = 40  # rows of a table on a page


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """What is learnt from, and what speaks against it."""
    judged = spec.task.kind in ("classification", "multi_label")
    return [
        build_labeled_set(spec, stage),
        build_contamination(spec, stage),
        *([build_label_errors(spec, stage)] if judged else []),
    ]


def build_labeled_set(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """One gold target per item of the batches that count."""
    key = {
        name: [spec.name, name]
        for name in (
            "annotations",
            "agreement_report",
            "batch_verdicts",
            "batches",
            "decisions",
            "dedup_corpus",
        )
    }

    @dg.asset(
        **spec.asset(
            stage,
            "labeled_set",
            version=VERSION,
            reads=["task", "split", "dedup", "language", "seed"],
            kinds={"parquet"},
        ),
        description="One gold target per item, and its split (SPEC D8): what the annotators of "
        "accepted and adjudicated batches come to, and what people decided, which wins. Labels of "
        f"{spec.annotation.who}.",
        check_specs=[
            dg.AssetCheckSpec(
                "items_conserved",
                asset=[spec.name, "labeled_set"],
                blocking=True,
                description="Items of the batches that count and items decided by people = "
                "labelled + disputed + no longer in the corpus; there are items to learn from.",
            ),
            dg.AssetCheckSpec(
                "no_leakage",
                asset=[spec.name, "labeled_set"],
                blocking=True,
                description="No group, text or near duplicate stands in two splits.",
            ),
            dg.AssetCheckSpec(
                "class_balance",
                asset=[spec.name, "labeled_set"],
                description=f"Every class has {FEWEST_PER_CLASS} training items and is tested.",
            ),
        ],
        ins={
            "annotations": dg.AssetIn(key["annotations"], metadata={GROWING: True}),
            "agreement_report": dg.AssetIn(key["agreement_report"]),
            "batch_verdicts": dg.AssetIn(key["batch_verdicts"]),
            "decisions": dg.AssetIn(key["decisions"]),
            "dedup_corpus": dg.AssetIn(key["dedup_corpus"]),
        },
        deps=[key["batches"]],
    )
    def labeled_set(
        annotations: Table,
        agreement_report: Table,
        batch_verdicts: Table,
        decisions: Table,
        dedup_corpus: Table,
    ):
        from collections import Counter

        from vertical_assets.labels.adjudication.decisions import standing
        from vertical_assets.labels.adjudication.verdicts import (
            COUNTED,
            batches_with,
            counted_votes,
        )
        from vertical_assets.labels.aggregation import aggregate
        from vertical_assets.labels.cards import dataset_card
        from vertical_assets.labels.gold.balance import balance, class_weights, rare
        from vertical_assets.labels.gold.labeled import label_items
        from vertical_assets.labels.splits import find_leakage
        from vertical_assets.plots import bars
        from vertical_assets.store.contracts import LABELED
        from vertical_assets.store.tables import stage_table

        verdicts = batch_verdicts.read()
        counted = batches_with(verdicts, COUNTED)
        said = counted_votes(annotations.read(), verdicts)
        documents = dedup_corpus.read(["doc_id", "text", "meta", "cluster_id"])
        gold = label_items(aggregate(said, spec), standing(decisions.read()), documents, spec)
        labeled = gold.labeled
        leakage = find_leakage(labeled, spec)
        counts = balance(labeled, spec)
        missing = rare(counts, spec, FEWEST_PER_CLASS)
        splits = labeled["split"].to_pylist()
        methods = labeled.group_by("method").aggregate([([], "count_all")]).to_pylist()
        tables = {
            "agreement_report": agreement_report,
            "batch_verdicts": batch_verdicts,
            "decisions": decisions,
            "dedup_corpus": dedup_corpus,
        }
        people = said.group_by(["annotator_kind", "annotator_id"]).aggregate([])
        card = dataset_card(
            spec,
            labeled,
            agreement_report.read(),
            {name: table.version for name, table in tables.items()},
            Counter(people["annotator_kind"].to_pylist()),
        )
        return stored(
            stage_table(store_root(), LABELED, labeled.to_batches(), spec.sensitive),
            checks=[
                check(
                    "items_conserved",
                    gold.conserved and labeled.num_rows > 0,
                    f"{gold.items} items, {labeled.num_rows} labelled + "
                    f"{gold.disputed.num_rows} disputed + {gold.gone} no longer in the corpus",
                ),
                check(
                    "no_leakage",
                    leakage.total == 0,
                    f"found in two splits: {leakage.same_group} groups, {leakage.exact} texts, "
                    f"{leakage.near} near duplicates",
                ),
                check(
                    "class_balance",
                    not missing,
                    f"rare or untested: {', '.join(missing)}"
                    if missing
                    else "every class is present",
                    severity=dg.AssetCheckSeverity.WARN,
                ),
            ],
            metadata={
                **{split: splits.count(split) for split in counts},
                "batches": len(counted),
                "methods": dg.MetadataValue.md(markdown_table(methods)),
                "label_distribution": picture(
                    bars(counts, "spans" if spec.task.kind == "entities" else "items"),
                    "label distribution",
                ),
                "card": dg.MetadataValue.md(card.partition("\n---\n")[2]),  # without its YAML
                "class_weights": dg.MetadataValue.md(markdown_table(class_weights(counts))),
            },
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


def build_label_errors(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """Training items whose gold label is in doubt."""

    @dg.asset(
        **spec.asset(
            stage,
            "label_errors",
            version="4",
            reads=["task", "language", "seed"],
            kinds={"parquet", "sklearn"},
        ),
        ins={"labeled_set": dg.AssetIn([spec.name, "labeled_set"])},
    )
    def label_errors(labeled_set: Table):
        """Training items whose gold label is probably wrong, by cross-validated confident learning
        (SPEC T12, cleanlab); for people to look at, nothing is changed.
        """
        from vertical_assets.labels.gold.label_errors import label_errors
        from vertical_assets.store.label_contracts import LABEL_ERRORS
        from vertical_assets.store.tables import stage_table

        found = label_errors(labeled_set.read(), spec)
        shown = found.slice(0, SHOWN).to_pylist()
        return stored(
            stage_table(store_root(), LABEL_ERRORS, found.to_batches(), spec.sensitive),
            metadata={}
            if spec.sensitive
            else {"suspected": dg.MetadataValue.md(markdown_table(shown))},
        )

    return label_errors
