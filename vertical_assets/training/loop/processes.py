"""Several processes train one model together (SPEC T2): launched by torchrun, one per device.

Each optimizer step takes `batches_per_step` batches of the line of steps; of these, a process takes
every `size`-th. Gradients are averaged, so that two processes do what one does that adds up two
batches. The workers leave weights and log in the work folder; the process that launched them then
finds a finished training there (`loop.DONE`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import (
    FullyShardedDataParallel,
    OptimStateKeyType,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.loop.checkpoint_io import SafeCheckpointIO

JOB, FAILURE = "job.json", "failure.txt"


class ProcessesError(Exception):
    """A worker failed, or the processes are not those of the configuration."""


class WorkerDoneError(Exception):
    """A worker has trained; what follows is for the process that launched it."""


@dataclass(frozen=True)
class World:
    """This process among all; torchrun tells it by environment variables."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def nodes(self) -> int:
        return self.size // self.local_size


def world() -> World:
    """Where this process stands; alone where torchrun didn't start it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return World()
    return World(
        int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    )


def trainer_arguments(processes: Processes) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for this process.

    Raises:
        ProcessesError: this process is not one of those that the configuration asks for.
    """
    here = world()
    if here.size != processes.count:
        raise ProcessesError(
            f"processes asks for {processes.count} (devices x num_nodes), but {here.size} run; "
            "start the training through its asset or `launch`"
        )
    return {
        "devices": here.local_size,
        "num_nodes": here.nodes,
        "strategy": strategy(processes) if here.size > 1 else "auto",
        "accumulate_grad_batches": processes.accumulation,
    }


class Sharded(ModelParallelStrategy):
    """FSDP2 that resumes from our checkpoints, which hold the whole state in one file."""

    def load_checkpoint(self, checkpoint_path: Any, weights_only: Any = None) -> dict[str, Any]:
        checkpoint = SafeCheckpointIO().load_checkpoint(checkpoint_path)
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(self.model, checkpoint["state_dict"], options=options)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(
                state, OptimStateKeyType.PARAM_NAME, self.model
            )
            set_optimizer_state_dict(self.model, optimizer, named, options=options)
        return checkpoint


def strategy(processes: Processes) -> Strategy:
    """How gradients meet: NCCL between cards, gloo between processors."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if processes.strategy == "ddp":
        return DDPStrategy(process_group_backend=backend)
    return Sharded(
        data_parallel_size=processes.count,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        process_group_backend=backend,
    )


def shard(module: pl.LightningModule) -> None:
    """Divides a module's weights among the processes where the strategy is fsdp (FSDP2): each
    layer of the transformer by itself, so that one at a time is whole, and the rest together.
    """
    if not isinstance(module.trainer.strategy, ModelParallelStrategy):
        return
    mesh = module.device_mesh["data_parallel"]
    for layer in layers_of(module.model):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for step in ("training_step", "validation_step"):  # called instead of forward
        register_fsdp_forward_method(module, step)


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor that may be divided among several."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def layers_of(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The layers of an encoder or a decoder, whatever it is wrapped in or stands on it: the first
    list of a model.
    """
    return next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))


def launch(function: str, spec: VerticalSpec, arguments: Mapping[str, str], work: Path) -> None:
    """Runs a training in `spec.processes`' processes and waits; their output is this one's.

    Args:
        function: `module:name`; called as `function(spec, work=..., **arguments)` by each process.
        spec: the vertical.
        arguments: strings, e.g. paths.
        work: the run's folder; with several machines one that all of them see. The other machines
            run `python -m vertical_assets.training.loop.worker <work>/job.json <machine's number>`.

    Raises:
        ProcessesError: a process failed; the message says why the first one did.
    """
    work.mkdir(parents=True, exist_ok=True)
    (work / FAILURE).unlink(missing_ok=True)
    job = {
        "function": function,
        "spec": spec.model_dump(mode="json"),
        "arguments": {**arguments, "work": str(work)},
    }
    path = work / JOB
    path.write_text(json.dumps(job))
    torchrun(path, spec.processes)


def torchrun(job: Path, processes: Processes, node: int = 0) -> None:
    """Runs this machine's processes of a job and waits."""
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        # Processes of one machine meet on its loopback, whatever its other interfaces are.
        if processes.num_nodes == 1:
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
        cores = (os.cpu_count() or 1) // processes.devices
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores)))
    meeting = (
        ["--standalone"]
        if processes.num_nodes == 1
        else [
            f"--nnodes={processes.num_nodes}",
            f"--node-rank={node}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={processes.rendezvous}",
            f"--rdzv-id={job.parent.name}",
        ]
    )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", *meeting),
        f"--nproc-per-node={processes.devices}",
        *("-m", "vertical_assets.training.loop.worker", str(job)),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except BaseException:
            process.terminate()  # torchrun ends its workers
            raise
    if process.returncode:
        failure = job.with_name(FAILURE)
        why = failure.read_text() if failure.exists() else "see the step's output"
        raise ProcessesError(
            f"one of {processes.count} processes ended with code {process.returncode}: {why}"
        )
