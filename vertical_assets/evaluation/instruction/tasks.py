"""Tasks in the HumanEval format, and what of a model's answer is run.

One JSON object a line: `task_id`, `prompt`, `entry_point`, `canonical_solution`, `test` (Chen et
al. 2021, arXiv:2107.03374; github.com/openai/human-eval). `test` defines `check`, which gets the
function named by `entry_point` and raises where it is wrong. **Where `entry_point` is empty, the
task asks for no program: `check` gets the answer's text.** Arguments and results are plain data.
"""

import ast
import json
import re
from dataclasses import dataclass
from typing import Self

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from upath import UPath

# A fenced block of Markdown; open at the end where the answer was cut.
_BLOCK = re.compile(r"```[\w+-]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
# Where a continuation has left the function (Chen et al. 2021).
_BEYOND = re.compile(r"\n(?:class |def |#|if |print\()")


class TaskFileError(ValueError):
    """A task file that can't be used; the message names it and the remedy."""


class Task(BaseModel):
    """One task; further fields of the line are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    task_id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    entry_point: str
    canonical_solution: str = Field(min_length=1)
    test: str

    @property
    def is_code(self) -> bool:
        return bool(self.entry_point)

    @property
    def reference(self) -> str:
        """The canonical solution as a program or, of a text task, as an answer."""
        return self.prompt + self.canonical_solution if self.is_code else self.canonical_solution

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if "check" not in _functions(self.test, "test"):
            raise ValueError("field 'test' defines no function 'check'; add it")
        if self.is_code and self.entry_point not in _functions(
            self.reference, "prompt' + 'canonical_solution"
        ):
            raise ValueError(
                f"field 'entry_point' names {self.entry_point!r}, which prompt and "
                "canonical_solution don't define; correct it, or leave it empty for a text task"
            )
        return self

    def program(self, answer: str) -> str:
        """What is run of a model's answer: a block of code alone, if it has one.

        An answer that defines the function is put behind what the prompt has before it; any other
        is the function's body, whose first indentation a model's answer may have lost.
        """
        if not self.is_code:
            return answer
        block = _BLOCK.search(answer)
        code = block[1] if block else answer
        definition = rf"^(?:async )?def {re.escape(self.entry_point)}\b"
        if re.search(definition, code, re.MULTILINE):
            before = re.split(definition, self.prompt, maxsplit=1, flags=re.MULTILINE)[0]
            return f"{before}\n{code}"
        body = code.lstrip("\n")
        if body[:1] not in (" ", "\t"):
            last = self.prompt.rstrip().rpartition("\n")[2]
            body = last[: len(last) - len(last.lstrip())] + body
        return self.prompt.rstrip() + "\n" + _BEYOND.split(body, maxsplit=1)[0] + "\n"


@dataclass(frozen=True)
class Rejected:
    """A line that is no task: its number, from 1, and the field that is wrong."""

    line: int
    reason: str


@dataclass(frozen=True)
class TaskFile:
    """The tasks of a file, and the lines that are none."""

    tasks: tuple[Task, ...]
    rejected: tuple[Rejected, ...]


def read_tasks(path: UPath) -> TaskFile:
    """Tasks of a JSON Lines file in UTF-8; lines that can't be used are set apart.

    Raises:
        TaskFileError: no such file, or not one task in it.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TaskFileError(
            f"evaluate.instruction.path: {path} can't be read ({error.strerror}); put the tasks "
            "there, or correct the path"
        ) from error
    tasks: dict[str, Task] = {}
    rejected = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = Task.model_validate(json.loads(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            message = first["msg"].removeprefix("Value error, ")
            rejected.append(Rejected(number, f"field {field!r}: {message}" if field else message))
        except ValueError as error:  # of UTF-8 or JSON
            rejected.append(Rejected(number, f"no JSON: {error}"))
        else:
            if task.task_id in tasks:
                rejected.append(Rejected(number, f"field 'task_id': {task.task_id!r} came before"))
            else:
                tasks[task.task_id] = task
    if not tasks:
        why = "; ".join(f"line {each.line}: {each.reason}" for each in rejected[:3])
        raise TaskFileError(f"evaluate.instruction.path: {path} has no task ({why or 'empty'})")
    return TaskFile(tuple(tasks.values()), tuple(rejected))


def task_fingerprint(path: UPath) -> str:
    """Digest of a task file's bytes; "missing" where it can't be read."""
    try:
        return xxhash.xxh3_128_hexdigest(path.read_bytes())
    except OSError:
        return "missing"


def _functions(code: str, field: str) -> set[str]:
    """Names of the functions that a program defines outermost."""
    try:
        parsed = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"field '{field}' is no Python: {error}") from error
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in parsed.body if isinstance(each, kinds)}
