"""The course `education`: questions and answers are what the standard library's docstrings say."""

from pathlib import Path

from vertical_assets.defs.education.python_docs import LONGEST_ANSWER, questions, topics
from vertical_assets_tests.conftest import questions_of

MODULE = '''"""A module."""

def first_one(a, b=1):
    """Add two numbers.

    More about it.

    >>> first_one(1, 2)
    3
    """

def first_two(*, c):
    """Multiply numbers."""

def _hidden():
    """Nobody asks."""

class Thing:
    """A thing."""

    def method(self, x):
        """Do it."""
'''


def test_questions_are_asked_of_what_is_public(tmp_path: Path) -> None:
    file = tmp_path / "mod.py"
    file.write_text(MODULE)
    found = {row["question"]: row for row in questions(file)}
    assert {question: row["text"] for question, row in found.items()} == {
        "What does mod.first_one(a, b) do?": "Add two numbers.",
        "How is mod.first_one(a, b) used, step by step?": ">>> first_one(1, 2)\n3",
        "What does mod.first_two() do?": "Multiply numbers.",
        "What is the class mod.Thing?": "A thing.",
        "What does mod.Thing.method(x) do?": "Do it.",
        "What is the difference between mod.first_one and mod.first_two?": (
            "first_one: Add two numbers.\nfirst_two: Multiply numbers."
        ),
    }
    assert {row["question_type"] for row in found.values()} == {"definition", "steps", "comparison"}
    # What shares words with a comparison is held out with it.
    assert {row["subject"] for row in found.values()} == {
        "mod.first",
        "mod.Thing",
        "mod.Thing.method",
    }
    assert not list(questions(tmp_path / "_private.py"))


def test_answers_stand_in_the_docstrings() -> None:
    import statistics

    rows = {row["question"]: row for row in questions_of("statistics")}
    answer = rows["What does statistics.median_low(data) do?"]["text"]
    assert answer == "Return the low median of numeric data."
    assert answer in (statistics.median_low.__doc__ or "")
    assert all(len(row["text"]) <= LONGEST_ANSWER for row in rows.values())
    assert len({row["id"] for row in rows.values()}) == len(rows)


def test_topics_are_read_in_parts_that_make_up_the_whole() -> None:
    import pydoc_data.topics as source

    found = list(topics(Path(source.__file__)))
    for title, text in source.topics.items():
        parts = [row["text"] for row in found if row["title"] == title]
        assert "\n\n".join(parts) == text
