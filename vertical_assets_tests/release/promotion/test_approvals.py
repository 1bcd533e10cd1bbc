"""People's word on releases, as a file."""

import json
from pathlib import Path

import pytest
from upath import UPath

from vertical_assets.release.promotion.approvals import (
    FILE,
    Approvals,
    approvals_fingerprint,
    read_approvals,
    record,
)

FIRST, SECOND = "0" * 32, "1" * 32


def test_who_when_and_why_are_kept_and_the_last_word_counts(tmp_path: Path) -> None:
    file = UPath(tmp_path / "tiny" / FILE)
    assert read_approvals(file) == Approvals()
    assert approvals_fingerprint(file) == "missing"
    record(file, FIRST, True, "Ada", "the card is sound")
    before = approvals_fingerprint(file)
    refused = record(file, FIRST, False, "Grace", "a slice collapsed: 长文本")
    assert approvals_fingerprint(file) != before
    said = read_approvals(file)
    assert [each.approved for each in said.said] == [True, False]
    assert said.of(FIRST) == refused
    assert refused.by == "Grace"
    assert refused.at.endswith("+00:00")


def test_an_approval_is_of_the_digest_it_names(tmp_path: Path) -> None:
    file = UPath(tmp_path / FILE)
    record(file, FIRST, True, "Ada", "sound")
    assert read_approvals(file).of(SECOND) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"release": FIRST[:8]}, "release"),
        ({"verdict": "yes"}, "verdict"),
        ({"by": "  "}, "by"),
        ({"reason": ""}, "reason"),
        ({"at": "yesterday"}, "at"),
        ({"note": "?"}, "note"),
    ],
)
def test_a_broken_line_approves_nothing_and_is_named(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    line = {"release": FIRST, "verdict": "approved", "by": "Ada", "reason": "sound"}
    line |= {"at": "2024-05-01T10:00:00Z"} | change
    file = UPath(tmp_path / FILE)
    file.write_text(f"\n{json.dumps(line)}\n{{\n")
    read = read_approvals(file)
    assert read.said == ()
    assert [each["line"] for each in read.rejected] == [2, 3]
    assert read.rejected[0]["reason"].startswith(reason)


def test_editors_of_all_systems_may_write_the_file(tmp_path: Path) -> None:
    """One puts a mark before the first line, another writes a name in an older encoding."""
    line = {"release": FIRST, "verdict": "approved", "by": "Ada", "reason": "sound"}
    said = json.dumps(line | {"at": "2024-05-01T10:00:00Z"})
    file = UPath(tmp_path / FILE)
    file.write_bytes(b"\xef\xbb\xbf" + said.encode() + b"\r\n")
    assert [each.by for each in read_approvals(file).said] == ["Ada"]
    file.write_bytes(said.replace("Ada", "王芳").encode("gb18030") + b"\n" + said.encode())
    read = read_approvals(file)
    assert [each.by for each in read.said] == ["Ada"]
    assert [each["line"] for each in read.rejected] == [1]


def test_a_line_is_added_behind_one_that_was_written_by_hand(tmp_path: Path) -> None:
    file = UPath(tmp_path / FILE)
    by_hand = {
        "release": FIRST,
        "verdict": "refused",
        "by": "Ada",
        "reason": "no",
        "at": "2024-05-01",
    }
    file.write_text(json.dumps(by_hand))  # without an end of line
    record(file, SECOND, True, "Grace", "sound")
    assert [each.release for each in read_approvals(file).said] == [FIRST, SECOND]


@pytest.mark.parametrize(("by", "reason"), [("", "sound"), ("Ada", " ")])
def test_nobody_decides_without_a_name_and_a_reason(by: str, reason: str, tmp_path: Path) -> None:
    file = UPath(tmp_path / FILE)
    with pytest.raises(ValueError, match="say who decides and why"):
        record(file, FIRST, True, by, reason)
    assert not file.exists()
