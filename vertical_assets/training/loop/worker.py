"""One process of several that train together: calls the job's function (see `processes`).

`python -m vertical_assets.training.loop.worker JOB` under torchrun; with a machine's number behind
it, not under torchrun, it starts that machine's processes.
"""

import contextlib
import importlib
import json
import sys
from pathlib import Path

import torch

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.loop.processes import FAILURE, WorkerDoneError, torchrun


def work_on(job: Path) -> None:
    """Calls the job's function; what went wrong first is kept beside the job."""
    told = json.loads(job.read_text())
    module, _, name = told["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    arguments = {
        key: Path(value) if key == "work" else value for key, value in told["arguments"].items()
    }
    try:
        with contextlib.suppress(WorkerDoneError):
            function(VerticalSpec.model_validate(told["spec"]), **arguments)
    except Exception as error:
        with contextlib.suppress(FileExistsError), job.with_name(FAILURE).open("x") as file:
            file.write(f"{type(error).__name__}: {error}")
        raise
    finally:
        if torch.distributed.is_initialized():
            with contextlib.suppress(RuntimeError):  # a peer that failed is gone already
                torch.distributed.destroy_process_group()


def main(job: Path, node: int | None = None) -> None:
    """A worker, or with `node` the processes of that machine."""
    if node is None:
        work_on(job)
    else:
        spec = VerticalSpec.model_validate(json.loads(job.read_text())["spec"])
        torchrun(job, spec.processes, node)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
