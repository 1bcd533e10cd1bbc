"""Commands forked from a process that has the libraries imported: importing them is half of a small
build. The package's own modules are imported by each command anew.

Run as a module it serves: a JSON line asks for a command and is answered by its exit status.
"""

import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "dagster.components",
    "dagster_graphql.schema",
    "dagster_mlflow",
    "great_expectations",
    "lightning.pytorch",
    "matplotlib.figure",
    "mlflow",
    "nncf.torch",
    "openvino",
    "rich.progress",
    "scipy.signal",
    "sklearn.linear_model",
    "tensorboard.compat.proto",
    "transformers",
    "xgboost",
)


class Commands:
    """The client: a server is started with the first command, and ends with this process."""

    def __init__(self) -> None:
        self.server: subprocess.Popen[str] | None = None

    def run(
        self,
        script: str,
        arguments: tuple[str, ...],
        root: Path,
        environment: dict[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a console script, `module:function`, in a folder, with an environment.

        Raises:
            TimeoutError: it took longer than so many seconds; it was killed.
        """
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = (Path(folder) / name for name in ("out", "err"))
            request = {
                "script": script,
                "arguments": arguments,
                "root": str(root),
                "environment": environment,
                "files": [str(out), str(err)],
            }
            print(json.dumps(request), file=self.server.stdin, flush=True)
            number = int(self.server.stdout.readline())
            late = threading.Timer(timeout, os.killpg, (number, signal.SIGKILL))
            late.start()
            status = int(self.server.stdout.readline())
            late.cancel()
            texts = [file.read_text() for file in (out, err)]
        if status == -signal.SIGKILL:
            raise TimeoutError(f"{script} {arguments} took more than {timeout} s: {texts}")
        return subprocess.CompletedProcess([script, *arguments], status, *texts)


def serve() -> None:
    """Forks a process for each line of standard input, one at a time."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # a collection would look through all of them, and copy their pages
    requests = sys.stdin
    while line := requests.readline():
        if (number := os.fork()) == 0:
            become(**json.loads(line))
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


def become(
    script: str, arguments: list[str], root: str, environment: dict[str, str], files: list[str]
) -> NoReturn:
    """Is the command from now on: with its environment, folder and files, in its own session."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(root)
    random.seed()
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = [script, *arguments]
    module, _, function = script.partition(":")
    sys.exit(getattr(importlib.import_module(module), function)())


if __name__ == "__main__":
    serve()
