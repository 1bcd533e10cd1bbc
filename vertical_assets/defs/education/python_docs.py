"""Python's own documentation as a course: topics to read, and questions with their answers.

Read from the running interpreter's standard library: the topics of `help()` (pydoc_data) and the
docstrings of its top-level modules. Every answer is text that stands there; questions are written
by the few templates below.
"""

import ast
import doctest
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

TOPIC_CHARACTERS = 1500  # a topic is read in parts of about this length, cut between paragraphs
LONGEST_ANSWER = 400
STEMS = 5  # letters at their beginning that names share which are worth comparing


class Thing(NamedTuple):
    """Something that a module documents."""

    module: str
    name: str  # with the class before it
    call: str  # with its arguments
    is_class: bool
    text: str  # its docstring

    @property
    def subject(self) -> str:
        """What belongs together: functions that are compared with each other, else the thing."""
        alone = self.is_class or "." in self.name
        return f"{self.module}.{self.name if alone else self.name[:STEMS]}"

    @property
    def summary(self) -> str:
        """The docstring's first paragraph, in one line; none where it begins with an example."""
        first = " ".join(self.text.split("\n\n")[0].split())
        return "" if first.startswith(">>>") else first


def topics(path: Path) -> Iterator[dict[str, str]]:
    """Parts of the topics in `pydoc_data/topics.py`: what is read before questions are asked.

    Yields mappings with `id`, `title`, `text`.
    """
    tree = ast.parse(path.read_text("utf-8"))
    assigned = next(node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)))
    if assigned.value is None:
        return
    for title, text in ast.literal_eval(assigned.value).items():
        part: list[str] = []
        number = 0
        for paragraph in [*text.split("\n\n"), None]:
            if part and (paragraph is None or sum(map(len, part)) > TOPIC_CHARACTERS):
                number += 1
                yield {"id": f"{title}/{number}", "title": title, "text": "\n\n".join(part)}
                part = []
            if paragraph is not None:
                part.append(paragraph)


def questions(path: Path) -> Iterator[dict[str, str]]:
    """Questions about one module of the standard library, with answers from its docstrings.

    `definition`: what something does, the first paragraph. `steps`: how it is used, its examples.
    `comparison`: what two things with kin names do, both first paragraphs.

    Yields mappings with `id`, `text` (the answer), `question`, `question_type`, `subject`.
    """
    module = path.stem
    if module.startswith("_"):
        return
    things = list(_things(module, ast.parse(path.read_bytes())))
    for thing in things:
        verb = "What is the class {}?" if thing.is_class else "What does {} do?"
        if thing.summary:
            yield _pair(thing, "definition", verb.format(f"{module}.{thing.call}"), thing.summary)
        if steps := _examples(thing.text):
            question = f"How is {module}.{thing.call} used, step by step?"
            yield _pair(thing, "steps", question, steps)
    for one, other in combinations(things, 2):
        if _alike(one, other):
            names = f"{module}.{one.name} and {module}.{other.name}"
            yield _pair(
                one,
                "comparison",
                f"What is the difference between {names}?",
                f"{one.name}: {one.summary}\n{other.name}: {other.summary}",
                f" {other.name}",
            )


def _pair(thing: Thing, kind: str, question: str, answer: str, more: str = "") -> dict[str, str]:
    """A pair, without an answer (and so quarantined) where that is too long to be learnt."""
    return {
        "id": f"{thing.module}.{thing.name}{more}#{kind}",
        "text": answer if len(answer) <= LONGEST_ANSWER else "",
        "question": question,
        "question_type": kind,
        "subject": thing.subject,
    }


def _things(module: str, tree: ast.Module) -> Iterator[Thing]:
    """Public functions, classes and their methods that have a docstring."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _documented(module, node, "")
            for inner in node.body:
                yield from _documented(module, inner, f"{node.name}.")
        else:
            yield from _documented(module, node, "")


def _documented(module: str, node: ast.stmt, before: str) -> Iterator[Thing]:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    text, name = ast.get_docstring(node), before + node.name
    if not text or any(part.startswith("_") for part in name.split(".")):
        return
    if isinstance(node, ast.ClassDef):
        yield Thing(module, name, name, True, text)
        return
    arguments = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    own = ", ".join(name for name in arguments if name not in ("self", "cls"))
    yield Thing(module, name, f"{name}({own})", False, text)


def _alike(one: Thing, other: Thing) -> bool:
    """Whether two things are functions whose names begin alike, both with a summary."""
    functions = not any(thing.is_class or "." in thing.name for thing in (one, other))
    return functions and one.subject == other.subject and bool(one.summary and other.summary)


def _examples(text: str) -> str:
    """The interactive examples of a docstring, with what they print; none if fewer than two lines
    come of it.
    """
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:  # an example that breaks doctest's own rules
        return ""
    lines: list[str] = []
    for example in examples:
        first, *rest = example.source.splitlines()
        lines += [f">>> {first}", *(f"... {line}" for line in rest), *example.want.splitlines()]
    return "\n".join(lines) if len(lines) >= 2 else ""
