"""What runs inside a sandbox: in one process the model's program, in another the task's test.

The test calls the program over a socket and gets plain data back. So a program can end itself, look
into its own interpreter, or return objects that claim to equal everything: it never shares a
process with what judges it. Only the standard library is imported.
"""

import builtins
import json
import os
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from vertical_assets.evaluation.instruction.confinement import PROTECTIONS, confine

CANDIDATE, CHECKER = "candidate", "checker"
LONGEST_ERROR = 500


class GoneError(BaseException):
    """The program's process has ended; no `except Exception` of a test may hide it."""


class Peer:
    """JSON lines over the socket between the two processes."""

    def __init__(self, channel: int) -> None:
        self.reading = os.fdopen(channel, "rb", closefd=False)
        self.writing = os.fdopen(channel, "wb", buffering=0, closefd=False)

    def send(self, message: Any) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while left:
                left = left[self.writing.write(left) or 0 :]
        except (BrokenPipeError, ConnectionResetError):
            raise GoneError from None

    def receive(self) -> Any:
        try:
            line = self.reading.readline()
        except ConnectionResetError:
            line = b""
        if not line:
            raise GoneError
        return json.loads(line)


def encode(value: Any) -> Any:
    """Plain data as JSON; lists stay lists, what JSON lacks becomes {type: content}.

    Raises:
        TypeError: a value of another type, e.g. a function or an object of a class.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(each) for each in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(each)] for key, each in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(each) for each in value]}
    if isinstance(value, (bytes, bytearray)):
        return {type(value).__name__: list(value)}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    raise TypeError(f"{type(value).__name__} is no plain data and can't leave the sandbox")


def decode(value: Any) -> Any:
    """What `encode` was given, subclasses as their plain types."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {decode(key): decode(each) for key, each in content}
    if kind == "complex":
        return complex(*content)
    made = {each.__name__: each for each in (tuple, set, frozenset, bytes, bytearray)}[kind]
    return made(decode(each) for each in content)


class Candidate:
    """The program's function, as the test sees it: a call goes to the other process."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.peer.send([encode(args), encode(kwargs)])
        return self.answer()

    def answer(self) -> Any:
        """The next answer; the program's error as one of the same name, where Python has it."""
        reply = self.peer.receive()
        if "error" not in reply:
            return decode(reply["value"])
        name, message = map(str, reply["error"])
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                error = kind(message)
            except TypeError:  # e.g. UnicodeDecodeError, which takes more
                pass
            else:
                raise error
        raise RuntimeError(f"{name}: {message}")


def serve(job: dict[str, Any], peer: Peer) -> None:
    """Runs the program, then answers calls of its function until nobody asks any more."""

    def attempt(made: Callable[..., Any], *given: Any) -> dict[str, Any]:
        try:
            return {"value": encode(made(*given))}
        except BaseException as error:  # sys.exit() too is an answer, and no good one
            return {"error": [type(error).__name__, str(error)[:LONGEST_ERROR]]}

    module = types.ModuleType("program")
    sys.modules["program"] = module

    def load() -> None:
        exec(compile(job["program"], "<program>", "exec"), module.__dict__)

    def call(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return module.__dict__[job["entry_point"]](*args, **kwargs)

    peer.receive()  # the test's process is ready
    peer.send(attempt(load))
    while True:
        try:
            given, named = peer.receive()
        except GoneError:
            return
        args, kwargs = decode(given), decode(named)
        peer.send(attempt(call, args, kwargs))


def judge(job: dict[str, Any], peer: Peer | None) -> str | None:
    """Runs the test; None where it passes, else what was wrong.

    `check` gets the program's function, or, where there is no program, the answer's text. The names
    of the prompt stand for the reference's, which `test` may use; the entry point is the program's.
    """
    module = types.ModuleType("test")
    sys.modules["test"] = module
    names = module.__dict__
    try:
        given: Any = job["answer"]
        if peer is not None:
            exec(compile(job["reference"], "<reference>", "exec"), names)
            given = names[job["entry_point"]] = Candidate(peer)
            peer.send("start")
            given.answer()  # to its being loaded
        exec(compile(job["test"], "<test>", "exec"), names)
        names["check"](given)
    except GoneError:
        return "the program ended itself, or was ended by a limit"
    except BaseException as error:
        return _told(error, job["test"].splitlines())
    return None


def _told(error: BaseException, test: list[str]) -> str:
    """An error in a line, with the line of the test that it comes from."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    places = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<test>"
    ]
    if places and places[-1]:
        said += f" in `{test[places[-1] - 1].strip()}`"
    return said[:LONGEST_ERROR]


def main() -> NoReturn:
    """Reads a job from standard input, gives up all rights, says which protections hold, runs."""
    job = json.loads(sys.stdin.buffer.read())
    sys.path.pop(0)  # where this package was imported from
    sys.set_int_max_str_digits(0)
    nothing, report = os.open(os.devnull, os.O_RDWR), os.dup(1)
    os.dup2(nothing, 0)
    if job["role"] == CHECKER:  # a test's prints are nobody's business
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    held = confine(job["folder"], job["readable"], **job["limits"])
    ready = job["allow_unprotected"] or len(held) == len(PROTECTIONS)
    os.write(report, json.dumps({"held": held, "ready": ready}).encode() + b"\n")
    if ready and job["role"] == CANDIDATE:
        os.close(report)
        serve(job, Peer(job["channel"]))
    elif ready:
        wrong = judge(job, Peer(job["channel"]) if job["channel"] is not None else None)
        os.write(report, json.dumps({"passed": wrong is None, "error": wrong}).encode() + b"\n")
    os._exit(0)
