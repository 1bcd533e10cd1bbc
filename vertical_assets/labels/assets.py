"""Assets of the labels: annotations -> agreement_report -> labeled_set."""

import dagster as dg

from vertical_assets.labels.generation.assets import build_labeled_set
from vertical_assets.labels.tasks import assets as tasks
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import (
    check,
    markdown_table,
    outs,
    picture,
    stored,
    watched_files,
)

STAGE, VERSION = "labels", "1"
FEWEST_PER_CLASS = 10  # training items under which a class can hardly be learnt


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The label assets of one vertical."""
    key = {
        name: [spec.name, name]
        for name in ("annotations", "agreement_report", "labeled_set", "dedup_corpus")
    }
    simulated = spec.annotation.simulate is not None
    who = "simulated annotators, not people" if simulated else "people"

    @dg.multi_asset(
        outs=outs(
            spec,
            STAGE,
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

    @dg.asset(
        **spec.asset(
            STAGE,
            "agreement_report",
            version=VERSION,
            reads=["agreement", "task", "seed"],
            kinds={"parquet"},
        ),
        ins={"annotations": dg.AssetIn(key["annotations"])},
        check_specs=[
            dg.AssetCheckSpec(
                "alpha",
                asset=key["agreement_report"],
                blocking=True,
                description=f"Krippendorff's alpha >= {spec.agreement.alpha} (SPEC D8).",
            )
        ],
    )
    def agreement_report(annotations: Table):
        """How far annotators agree: alpha with interval, by class and by pair (SPEC D8)."""
        from vertical_assets.labels.agreement import agreement_report, pair_heat_map
        from vertical_assets.plots import heat_map
        from vertical_assets.store.contracts import AGREEMENT
        from vertical_assets.store.tables import stage_table

        report = agreement_report(
            annotations.read(),
            spec.labels,
            spec.agreement.bootstrap,
            spec.seed,
            spec.task.kind,
        )
        rows = report.to_pylist()
        overall = rows[0]
        value = overall["value"]
        if value is None:
            raise dg.Failure(
                "no item has labels of two annotators, so there is no agreement to measure; "
                "let a second person label some of the items",
                allow_retries=False,
            )
        passed = value >= spec.agreement.alpha
        interval = f"95 % interval {overall['low']:.4f}..{overall['high']:.4f}"
        return stored(
            stage_table(store_root(), AGREEMENT, report.to_batches(), spec.sensitive),
            checks=[
                check(
                    "alpha",
                    passed,
                    f"Krippendorff's alpha {value:.4f} ({interval}) on {overall['items']} items "
                    + (
                        f"reaches the bar of {spec.agreement.alpha}"
                        if passed
                        else f"is below the bar of {spec.agreement.alpha}: nothing is trained on "
                        "these labels; clarify the label standard or adjudicate, then label again"
                    ),
                    alpha=value,
                    bar=spec.agreement.alpha,
                )
            ],
            metadata={
                "alpha": value,
                "report": dg.MetadataValue.md(markdown_table(rows[:60])),
                "pairs": picture(
                    heat_map(*pair_heat_map(report), "annotator", "annotator"), "alpha by pair"
                ),
            },
        )

    @dg.multi_asset(
        outs=outs(
            spec,
            STAGE,
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
        from vertical_assets.labels.gold import items_in, majority
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

    @dg.asset(
        **spec.asset(
            STAGE,
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

    if spec.task.kind == "generation":
        return [build_labeled_set(spec, STAGE), contamination]
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        annotations,
        agreement_report,
        labeled_set,
        contamination,
        *tasks.build_assets(spec, STAGE),
    ]
    if not simulated:
        assets.append(
            watched_files(spec, STAGE, "label_files", "The files that people's labels come in.")
        )
    return assets
