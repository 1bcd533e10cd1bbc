"""The analysis of every kind of task, and the report that a person reads."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.evaluation.errors.analysis import Analysis, analyse
from vertical_assets.evaluation.errors.report import confusion_counts, report_html
from vertical_assets.labels.splits import held_out
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import ERRORS, RELABEL_QUEUE, SLICES
from vertical_assets.training.embeddings import embeddings
from vertical_assets.training.predictions import with_embeddings
from vertical_assets_tests.evaluation.errors.notes import (
    checkpoint_of,
    labeled_set,
    predictions_with_errors,
    spec_of,
)
from vertical_assets_tests.evaluation.errors.test_slices import KINDS

EVALUATE = {"slices": {"min_items": 5}, "errors": {"outliers": 0.1}}


def analysed(kind: TaskKind, folder: Path, **changes: Any) -> tuple[Analysis, pa.Table, Any]:
    spec = spec_of(kind, evaluate=EVALUATE, **changes)
    labeled = labeled_set(kind)
    said = predictions_with_errors(labeled, kind)
    checkpoint = checkpoint_of(spec, folder)
    return analyse(checkpoint, labeled, said, {}, Terms(()), spec), said, spec


def page_of(found: Analysis, said: pa.Table, spec: VerticalSpec) -> str:
    versions = {"finetuned_ckpt": "f00d"}
    return report_html(found.slices, found.errors, found.queue, said, found.facts, versions, spec)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_analysed_and_reported(kind: TaskKind, tmp_path: Path) -> None:
    found, said, spec = analysed(kind, tmp_path)
    assert (found.slices.schema, found.errors.schema) == (SLICES, ERRORS)
    assert found.queue.schema == RELABEL_QUEUE
    assert found.facts["errors"] == len(found.errors) > 0
    assert found.facts["train_items_compared"] == found.facts["train_items"] == 60
    assert set(found.errors["nearest_id"].to_pylist()) <= {f"n{n:03}" for n in range(0, 120, 2)}
    reasons = {reason for row in found.queue["reasons"].to_pylist() for reason in row}
    assert "outlier" in reasons
    assert {"confident_error", "far_off"} & reasons
    page = page_of(found, said, spec)
    assert page == page_of(found, said, spec)
    (first, *_) = [row for row in found.errors.to_pylist() if row["split"] == "validation"]
    assert first["text"] in page
    assert "<script" not in page
    assert "http://" not in page  # nothing is loaded from elsewhere
    assert "https://" not in page
    tags(page)


def tags(page: str) -> None:
    """Every element that is opened is closed, in order."""
    open_: list[str] = []

    class Reader(HTMLParser):
        def handle_startendtag(self, tag: str, attrs: Any) -> None:
            """Closed by itself."""

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "br"):
                open_.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_.pop() == tag

    Reader().feed(page)
    assert open_ == []


@pytest.mark.parametrize("kind", ["classification", "entities"])
def test_the_report_of_a_sensitive_vertical_holds_no_text(kind: TaskKind, tmp_path: Path) -> None:
    found, said, spec = analysed(kind, tmp_path, sensitive=True)
    page = page_of(found, said, spec)
    for row in [*found.errors.to_pylist(), *found.queue.to_pylist()]:
        assert row["text"] not in page
        if kind == "entities":  # its targets are words of the texts
            assert "aspirin (drug)" not in page
    assert "no text is shown" in page
    assert (
        next(r for r in found.errors.to_pylist() if r["split"] == "validation")["item_id"] in page
    )


def test_texts_are_shown_as_they_are_and_never_run(tmp_path: Path) -> None:
    found, said, spec = analysed("classification", tmp_path)
    evil = "<script>alert(1)</script><b>& x"
    rows = [{**row, "text": evil, "split": "validation"} for row in found.errors.to_pylist()]
    page = report_html(
        found.slices,
        pa.Table.from_pylist(rows, ERRORS),
        found.queue,
        said,
        found.facts,
        {"finetuned_ckpt": "f00d"},
        spec,
    )
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;&amp; x" in page


def test_errors_of_the_test_split_are_not_shown(tmp_path: Path) -> None:
    found, said, spec = analysed("classification", tmp_path)
    page = page_of(found, said, spec)
    section = page[page.index("Errors on the validation") : page.index("Suspected label errors")]
    tested = [row["item_id"] for row in found.errors.to_pylist() if row["split"] == "test"]
    assert tested
    assert not any(item in section for item in tested)


def test_confusion_counts_the_test_items() -> None:
    said = predictions_with_errors(labeled_set("classification"), "classification")
    counts = confusion_counts(said, spec_of("classification"))
    (few, _, of_few), (many, items, of_many) = counts["rows"]
    assert (few, many) == ("few", "many")
    assert of_few[1] == 0
    assert of_many == [items, 0]  # the model reads eight words, and many are more than nine
    assert counts["commonest"] == [("many", "few", items)]


def test_of_a_large_training_set_a_sample_is_looked_at(tmp_path: Path) -> None:
    spec = spec_of("classification", evaluate={"errors": {"train_items": 10}})
    labeled = labeled_set("classification")
    said = predictions_with_errors(labeled, "classification")
    checkpoint = checkpoint_of(spec, tmp_path)
    found = analyse(checkpoint, labeled, said, {}, Terms(()), spec)
    assert (found.facts["train_items_compared"], found.facts["train_items"]) == (10, 60)
    assert "among 10 of 60 training items" in page_of(found, said, spec)
    held = held_out(labeled)["text"].to_pylist()
    # As the asset `predictions` stores them: then only the sample is read again.
    with_states = with_embeddings(said, embeddings(checkpoint, held, spec))
    for stored in (said, with_states):
        again = analyse(checkpoint, labeled, stored, {}, Terms(()), spec)
        same = [name for name in again.errors.column_names if name != "similarity"]
        assert again.errors.select(same).equals(found.errors.select(same))
        assert again.errors["similarity"].to_pylist() == pytest.approx(
            found.errors["similarity"].to_pylist(), abs=1e-5
        )
        assert again.queue["item_id"].equals(found.queue["item_id"])
