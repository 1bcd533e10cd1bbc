"""Runs a model's program against a task's test, so that neither can do any harm.

Two processes without rights (`confinement.py`), one for the program and one for the test
(`inside.py`), without environment, files or terminal of ours, in sessions of their own. Each starts
no other, so that ending the two ends everything. Where a protection can't be had, nothing is run
unless the limits say so.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vertical_assets
from vertical_assets.evaluation.instruction.confinement import NOBODY, PROTECTIONS
from vertical_assets.evaluation.instruction.inside import CANDIDATE, CHECKER

STARTUP_SECONDS = 60.0  # for an interpreter on a busy machine; nothing foreign runs yet
TICK_SECONDS = 0.05
FILE_BYTES, FOLDER_BYTES, FOLDER_FILES = 4 << 20, 16 << 20, 256
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from vertical_assets.evaluation.instruction.inside import main; main()"
)
# What an interpreter opens while it runs; and never /proc, /home, /root or the project.
READABLE = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom"),
)


class SandboxError(RuntimeError):
    """The sandbox can't be had here, or broke; nothing is known of the program."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use.

    Attributes:
        timeout_s: seconds for the program and its test together, from when both are ready.
        memory_mb: of address space, for each of the two.
        output_kb: that the program may print.
        allow_unprotected: run also where a protection is missing.
    """

    timeout_s: float = 3.0
    memory_mb: int = 512
    output_kb: int = 64
    allow_unprotected: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether the test passed; what was wrong; how long it took."""

    passed: bool
    error: str | None
    seconds: float
    held: dict[str, str]


def run_program(
    program: str, *, reference: str, entry_point: str, test: str, limits: Limits
) -> Verdict:
    """Whether a program passes a test.

    Args:
        program: Python that defines `entry_point`; it is trusted with nothing.
        reference: Python whose names `test` may use.
        entry_point: name of the function that `check` gets.
        test: Python that defines `check`.
        limits: of both.

    Raises:
        SandboxError: a protection is missing here, or a process did not start.
    """
    ours, theirs = socket.socketpair()
    asked = {"program": program, "entry_point": entry_point}  # all that a program may know
    judged = {"reference": reference, "entry_point": entry_point, "test": test, "answer": None}
    with (
        ours,
        theirs,
        tempfile.TemporaryDirectory(prefix="sandbox-") as folder,
        _Process(CANDIDATE, asked, limits, theirs, Path(folder)) as candidate,
        _Process(CHECKER, judged, limits, ours, None) as checker,
    ):
        return _watch(checker, candidate, (ours, theirs), limits)


def run_answer(answer: str, *, test: str, limits: Limits) -> Verdict:
    """Whether a text passes a test whose `check` gets it; else as `run_program`."""
    with _Process(CHECKER, {"answer": answer, "test": test}, limits, None, None) as checker:
        return _watch(checker, None, (), limits)


class _Process:
    """One of the two, from its start to its end."""

    def __init__(
        self,
        role: str,
        job: dict[str, Any],
        limits: Limits,
        channel: socket.socket | None,
        folder: Path | None,
    ) -> None:
        if sys.platform != "linux":
            raise SandboxError("the sandbox is made of Linux's means; evaluate on Linux")
        nobody = os.geteuid() == 0 and _open_to_all(Path(os.__file__).parent)
        if folder is not None and nobody:
            with contextlib.suppress(PermissionError):
                os.chown(folder, NOBODY, NOBODY)
        self.folder, self.output = folder, b""
        self.popen = subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", "-B", "-c", START, _package_root()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # The order of sets is the same in every run.
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            cwd="/",
            pass_fds=() if channel is None else (channel.fileno(),),
            start_new_session=True,
        )
        told = {
            **job,
            "role": role,
            "channel": None if channel is None else channel.fileno(),
            "folder": None if folder is None else str(folder),
            "readable": [*_interpreter(), *READABLE],
            "allow_unprotected": limits.allow_unprotected,
            "limits": {
                "seconds": int(limits.timeout_s) + 2,
                "memory": limits.memory_mb << 20,
                "file_size": FILE_BYTES,
                "become_nobody": nobody,
            },
        }
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.out = self.popen.stdout.fileno()
        with contextlib.suppress(BrokenPipeError), self.popen.stdin as stdin:
            stdin.write(json.dumps(told).encode())  # read to its end before anything else

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()

    def read(self) -> bool:
        """Takes what there is of output; False at its end."""
        chunk = os.read(self.out, 1 << 16)
        self.output += chunk
        return bool(chunk)

    def held(self) -> dict[str, str]:
        """The protections, from the first line; what follows stays in `output`."""
        until = time.monotonic() + STARTUP_SECONDS
        with selectors.DefaultSelector() as ready:
            ready.register(self.out, selectors.EVENT_READ)
            while b"\n" not in self.output:
                if not ready.select(max(0.0, until - time.monotonic())) or not self.read():
                    raise SandboxError(f"a sandbox did not start: {self.output.decode()[-2000:]}")
        line, _, self.output = self.output.partition(b"\n")
        try:
            said = json.loads(line)
        except ValueError:
            raise SandboxError(
                f"a sandbox did not start: {(line + self.output).decode()[-2000:]}"
            ) from None
        if not said["ready"]:
            missing = [name for name in PROTECTIONS if name not in said["held"]]
            raise SandboxError(
                f"no protection of {' and '.join(missing)} on this machine (Linux with Landlock, "
                "5.13 or newer, and seccomp is needed); evaluate on another, or set "
                "evaluate.instruction.allow_unprotected for programs that you trust"
            )
        return dict(said["held"])


def _watch(
    checker: _Process,
    candidate: _Process | None,
    channels: tuple[socket.socket, ...],
    limits: Limits,
) -> Verdict:
    """Follows the processes to the verdict or to a limit."""
    for channel in channels:  # only the processes hold its ends
        channel.close()
    held = checker.held()
    if candidate is not None:
        held = candidate.held()
    begun = time.monotonic()

    def verdict(error: str | None) -> Verdict:
        return Verdict(error is None, error, time.monotonic() - begun, held)

    with selectors.DefaultSelector() as ready:
        for process in filter(None, (checker, candidate)):
            ready.register(process.out, selectors.EVENT_READ, process)
        while True:
            for key, _ in ready.select(TICK_SECONDS):
                if not key.data.read():
                    ready.unregister(key.fileobj)
                    if key.data is checker:
                        return verdict(_error_of(checker, candidate))
            if time.monotonic() - begun > limits.timeout_s:
                return verdict(f"time: more than {limits.timeout_s:g} s")
            if candidate is not None and len(candidate.output) > limits.output_kb << 10:
                return verdict(f"output: more than {limits.output_kb} KB")
            if candidate is not None and _overfull(candidate.folder):
                return verdict("files: more than the sandbox's folder may hold")


def _error_of(checker: _Process, candidate: _Process | None) -> str | None:
    """What the test said; of a program that ended early, also its last words."""
    try:
        said = json.loads(checker.output)
    except ValueError:
        return "the test's process was ended by a limit"
    if said["passed"]:
        return None
    words = "" if candidate is None else candidate.output.decode(errors="replace").strip()
    last = words.rpartition("\n")[2][-200:]
    return f"{said['error']}; it said last: {last}" if last else str(said["error"])


def _overfull(folder: Path | None) -> bool:
    """Whether a folder, which can have no folders in it, holds too much."""
    if folder is None:
        return False
    files = size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            files += 1
            with contextlib.suppress(FileNotFoundError):
                size += entry.stat(follow_symlinks=False).st_blocks * 512
            if files > FOLDER_FILES or size > FOLDER_BYTES:
                return True
    return False


def _package_root() -> str:
    assert vertical_assets.__file__ is not None
    return str(Path(vertical_assets.__file__).parents[1])


def _interpreter() -> list[str]:
    """The standard library, and what its compiled modules are linked to."""
    library = Path(os.__file__).parent
    linked = sysconfig.get_config_var("LIBDIR")
    return [str(library), *([linked] if linked else [])]


def _open_to_all(path: Path) -> bool:
    """Whether any user may read a folder: an interpreter under /root is not for nobody."""
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path, *path.parents))
