"""`vertical-assets trace` and `forget`: a document's whole way, and its end."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from vertical_assets.corpus.reading.sources import document_id
from vertical_assets_tests.conftest import Project, reviews
from vertical_assets_tests.test_build import built_now, not_up_to_date, stale_in_graphql

ROW = 7  # of `reviews`; the source `second` has the odd ones
EDITED = "换了一句话，和以前完全不同的评价内容。"
DOC_ID = document_id("second", reviews(400)[ROW]["id"])


def test_a_document_is_followed_from_its_line_to_the_models(built: Project) -> None:
    result = built.command("trace", DOC_ID)
    assert result.returncode == 0, result.stderr
    places = [line.strip() for line in result.stdout.splitlines() if line.startswith("tiny/")]
    assert places[0] == "tiny/raw_corpus/second"
    assert places.index("tiny/clean_corpus") < places.index("tiny/labeled_set")
    assert f"origin: second.jsonl:{ROW // 2 + 1}" in result.stdout
    assert places.count("tiny/annotations/simulated") == 3
    split = next(line.split()[1] for line in result.stdout.splitlines() if "split:" in line)
    finetuned = result.stdout.partition("tiny/finetuned_ckpt")[2].splitlines()[1]
    assert ("held out as test" in finetuned) == (split == "test")


def test_an_unknown_document_is_said_to_be_unknown(built: Project) -> None:
    for command in ("trace", "forget"):
        result = built.command(command, "0" * 32)
        assert result.returncode == 1
        assert "has a document '000" in result.stderr


def test_an_edited_sentence_and_a_forgotten_document_change_what_follows(
    copy_of_built: Project,
) -> None:
    """Their partition is made anew, with all that follows; the document is in no table then."""
    project, rows = copy_of_built, reviews(400)[1::2]
    rows[0] = {**rows[0], "text": EDITED}
    project.data("tiny", "second.jsonl", rows)
    assert not_up_to_date(project) == {"raw_corpus:second"}
    result = project.command("forget", DOC_ID, "--reason", "request 12")
    assert result.returncode == 0, result.stderr
    tombstone = json.loads((project.root / "data" / "tiny" / "tombstones.jsonl").read_text())
    assert tombstone["doc_id"] == DOC_ID
    assert tombstone["reason"] == "request 12"
    assert not_up_to_date(project) == stale_in_graphql(project) == {"raw_corpus:second"}
    built = built_now(project.build().stdout)
    assert "raw_corpus:first" not in built
    assert {
        "raw_corpus:second",
        "valid_corpus",
        "dedup_corpus",
        "labeled_set",
        "finetuned_ckpt",
    } <= built
    labelled = pq.read_table(project.current("labeled_set"), columns=["text"])
    assert EDITED in labelled["text"].to_pylist()
    text = reviews(400)[ROW]["text"]
    for file in (project.root / "data" / "store").rglob("*.parquet"):
        table = pq.read_table(file)
        for column in table.columns:
            if pa.types.is_string(column.type):
                assert not {DOC_ID, text} & set(column.to_pylist()), file
    assert project.command("trace", DOC_ID).returncode == 1
    assert not_up_to_date(project) == stale_in_graphql(project) == set()
