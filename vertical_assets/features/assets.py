"""Assets of the features: augmented_set, tfidf, word_vectors, where the spec has their section."""

import json
import tempfile
from pathlib import Path

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import check, counts_table, markdown_table, picture, stored

STAGE, VERSION = "features", "1"
EXAMPLES = 12  # augmented rows that the page shows beside their origins
MAPPED, NEIGHBOURS_OF = 60, 20  # words on the map, and in the table of neighbours


def build_assets(spec: VerticalSpec) -> list[dg.AssetsDefinition]:
    """The feature assets of one vertical."""
    key = {
        name: [spec.name, name]
        for name in ("labeled_set", "dedup_corpus", "augmented_set", "tfidf", "word_vectors")
    }

    @dg.asset(
        **spec.asset(
            STAGE,
            "augmented_set",
            version=VERSION,
            reads=["features.augment", "clean", "dedup", "language", "seed"],
            kinds={"parquet"},
        ),
        ins={"labeled_set": dg.AssetIn(key["labeled_set"])},
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_from_held_out",
                asset=key["augmented_set"],
                blocking=True,
                description="No row descends from validation or test, none equals or nearly "
                "duplicates one of their items.",
            )
        ],
    )
    def augmented_set(labeled_set: Table):
        """New training rows, each with the training item that it was made from (SPEC D11, D12)."""
        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.features.augmentation import augment, strays, with_augmented, words_of
        from vertical_assets.labels.splits import find_leakage
        from vertical_assets.store.contracts import AUGMENTED
        from vertical_assets.store.tables import stage_table

        settings = spec.features.augment
        assert settings is not None
        labeled = labeled_set.read()
        translate = None
        if (back := settings.back_translation) is not None:
            from vertical_assets.features.back_translation import TranslationError, back_translate

            def translate(texts: list[str]) -> list[str | None]:
                try:
                    return back_translate(texts, back)
                except TranslationError as error:
                    raise dg.Failure(str(error), allow_retries=False) from error

        try:
            words = words_of(spec, drop_folder(spec.name))
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        made = augment(labeled, spec, words, translate)
        leakage = find_leakage(with_augmented(labeled, made.rows), spec)
        stray = strays(labeled, made.rows)
        origins = dict(zip(*labeled.select(["item_id", "text"]).to_pydict().values(), strict=True))
        every = max(1, made.rows.num_rows // EXAMPLES)
        examples = [
            {"method": row["method"], "made from": origins[row["origin_id"]], "text": row["text"]}
            for row in made.rows.to_pylist()[::every][:EXAMPLES]
        ]
        return stored(
            stage_table(store_root(), AUGMENTED, made.rows.to_batches(), spec.sensitive),
            checks=[
                check(
                    "nothing_from_held_out",
                    not stray and not leakage.total,
                    f"{stray} of {made.rows.num_rows} rows come from no training item; with them, "
                    f"{leakage.same_group} groups, {leakage.exact} texts and {leakage.near} near "
                    "duplicates stand in two splits",
                )
            ],
            metadata={
                "outcomes": counts_table(made.counts, "method", "outcome"),
                "examples": dg.MetadataValue.md(markdown_table(examples)),
            },
        )

    @dg.asset(
        **spec.asset(
            STAGE,
            "tfidf",
            version=VERSION,
            reads=["features.tfidf", "clean", "split", "seed"],
            kinds={"scipy"},
        ),
        ins={name: dg.AssetIn(key[name]) for name in ("dedup_corpus", "labeled_set")},
    )
    def tfidf(dedup_corpus: Table, labeled_set: Table):
        """Weights of the corpus's words, fitted without the test split (SPEC D14).

        A directory with the vocabulary and how texts are cut (JSON) and idf (safetensors).
        """
        import pyarrow.compute as pc

        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.features.stop_words import stop_words
        from vertical_assets.features.tfidf import GroupMeans, Tfidf
        from vertical_assets.features.words import CorpusWords, Cutter, content_words
        from vertical_assets.labels.splits import TRAIN
        from vertical_assets.store.versions import MANIFEST, stage_directory

        settings = spec.features.tfidf
        assert settings is not None
        try:
            left_out = stop_words(settings.stop_words)
            corpus = CorpusWords(dedup_corpus, spec, left_out)
            fitted = Tfidf.fit(corpus, settings, Cutter.of(spec, drop_folder(spec.name)))
        except (SourceError, ValueError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        by_source, by_class = GroupMeans(fitted.terms), GroupMeans(fitted.terms)
        for batch in dedup_corpus.batches(["words", "source"]):
            words = map(content_words, batch["words"].to_pylist())
            by_source.add(fitted.transform_words(words), batch["source"].to_pylist())
        labeled = labeled_set.read()
        labelled_texts = [
            (row["text"], label)
            for row in labeled.filter(pc.equal(labeled["split"], TRAIN)).to_pylist()
            for label in row.get("labels") or [row["label"]]
            if label is not None
        ]
        by_class.add(
            fitted.transform([text for text, _ in labelled_texts]),
            [label for _, label in labelled_texts],
        )
        pages = {}
        for by, means in (("source", by_source), ("class", by_class)):
            rows = [{by: group, "terms": ", ".join(terms)} for group, terms in means.top().items()]
            pages[f"terms_by_{by}"] = dg.MetadataValue.md(markdown_table(rows, cell=200))
        with tempfile.TemporaryDirectory() as folder:
            fitted.save(Path(folder))
            manifest = {"asset": "tfidf", "inputs": {"dedup_corpus": dedup_corpus.version}}
            (Path(folder) / MANIFEST).write_text(json.dumps(manifest))
            staged = stage_directory(store_root(), Path(folder))
        return stored(
            staged, metadata={"terms": len(fitted.terms), "documents": fitted.documents, **pages}
        )

    @dg.asset(
        **spec.asset(
            STAGE,
            "word_vectors",
            version=VERSION,
            reads=["features.word_vectors", "clean", "split", "seed"],
            kinds={"gensim"},
        ),
        ins={"dedup_corpus": dg.AssetIn(key["dedup_corpus"])},
    )
    def word_vectors(dedup_corpus: Table):
        """A vector for every word of the corpus without the test split (SPEC D13).

        A directory with the words and how texts are cut (JSON) and their vectors (safetensors).
        """
        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.features.stop_words import stop_words
        from vertical_assets.features.word_vectors import WordVectors, plane, words_of_interest
        from vertical_assets.features.words import CorpusWords, Cutter
        from vertical_assets.plots import word_map
        from vertical_assets.store.versions import MANIFEST, stage_directory

        settings = spec.features.word_vectors
        assert settings is not None
        corpus = CorpusWords(dedup_corpus, spec)
        try:
            cutter = Cutter.of(spec, drop_folder(spec.name))
            fitted = WordVectors.fit(corpus, settings, cutter, spec.seed)
        except (SourceError, ValueError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        shown = words_of_interest(fitted, stop_words(["zh", "en"]), MAPPED)
        nearest = [
            {"word": word, "nearest": ", ".join(f"{w} {c:.2f}" for w, c in fitted.neighbours(word))}
            for word in shown[:NEIGHBOURS_OF]
        ]
        pages = {"nearest_words": dg.MetadataValue.md(markdown_table(nearest, cell=200))}
        if len(shown) > 2:
            places = plane(fitted.vectors[[fitted.words.index(word) for word in shown]])
            pages["map"] = picture(word_map(places, shown), "words by their two main components")
        with tempfile.TemporaryDirectory() as folder:
            fitted.save(Path(folder))
            manifest = {"asset": "word_vectors", "inputs": {"dedup_corpus": dedup_corpus.version}}
            (Path(folder) / MANIFEST).write_text(json.dumps(manifest))
            staged = stage_directory(store_root(), Path(folder))
        return stored(staged, metadata={"words": len(fitted.words), "width": fitted.width, **pages})

    made = {
        "augment": augmented_set,
        "tfidf": tfidf,
        "word_vectors": word_vectors,
    }
    return [asset for name, asset in made.items() if getattr(spec.features, name) is not None]
