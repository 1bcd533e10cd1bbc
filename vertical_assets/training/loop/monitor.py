"""Watching the memory of a training (SPEC T1), and what a step really costs, for the plan's page.

Memory in use is looked at after every step; the costs are measured in one early step: peak of
PyTorch's own allocator and the operations that were dispatched.
"""

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import psutil
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import ModelParallelStrategy
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

from vertical_assets.training.loop.processes import own_part

MOST_MEMORY = 0.8  # share of a device's memory (SPEC T1)
USAGE = "usage.json"
MEASURED_STEP = 2  # the optimizer's states are there from the second step on

log = logging.getLogger(__name__)


class MemoryMonitor(Callback):
    """Highest share of memory in use; above 80 % warns once, in the log and in USAGE."""

    def __init__(self, work: Path, most: float = MOST_MEMORY) -> None:
        self.path, self.most = work / USAGE, most
        self.highest = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        share = memory_share(trainer.strategy.root_device)
        if share > self.most >= self.highest:
            log.warning(
                "%.0f %% of the memory is in use, above %.0f %% (SPEC T1); lower batch_tokens or "
                "take over what resource_plan proposes",
                100 * share,
                100 * self.most,
            )
        self.highest = max(self.highest, share)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            note(
                self.path,
                memory_share=round(self.highest, 4),
                memory_alert=self.highest > self.most,
            )


def memory_share(device: torch.device) -> float:
    """Share of the device's memory in use: of the card by everybody, of RAM by this process."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return 1 - free / total
    return float(psutil.Process().memory_info().rss / psutil.virtual_memory().total)


class StepCost(Callback):
    """Measures one step: peak bytes of the allocator, weights and optimizer states included, and
    floating-point operations, with the shape of its batch.

    On a processor the peak is the running sum of PyTorch's allocations, which the profiler reports
    (not the process' resident memory, which never shrinks and holds libraries and data too).
    """

    def __init__(self, work: Path) -> None:
        self.path = work / USAGE
        self.measured = False
        self.flops: FlopCounterMode | None = None
        self.profile: profile | None = None
        self.running = ExitStack()
        self.shape: tuple[int, int] = (0, 0)
        self.even = True
        self.held = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The same step of every run: measured, it may take other kernels, and a resumed run has to
        # end with the weights of an unbroken one.
        if self.measured or trainer.global_step != MEASURED_STEP - 1:
            return
        self.measured = True
        self.shape, self.even = shape_of(batch), is_even(batch)
        self.held = held_bytes(pl_module, trainer.optimizers)
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            self.profile = self.running.enter_context(
                profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            )
        self.flops = self.running.enter_context(flop_counter())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if self.flops is None:
            return
        flops, profiled = self.flops, self.profile
        self.close()
        if profiled is not None:
            peak = self.held + allocated_peak(profiled)
        else:
            peak = torch.cuda.max_memory_allocated()
        if trainer.is_global_zero:
            note(
                self.path,
                measured_rows=self.shape[0],
                measured_width=self.shape[1],
                measured_even=self.even,
                measured_bytes=peak,
                measured_flops=flops.get_total_flops(),
                measured_with_dropout=any(
                    isinstance(each, torch.nn.Dropout) and each.training and each.p > 0
                    for each in pl_module.modules()
                ),
                measured_half=trainer.precision != "32-true",
                measured_sharded=trainer.world_size
                if isinstance(trainer.strategy, ModelParallelStrategy)
                else 1,
                measured_cuda=trainer.strategy.root_device.type == "cuda",
                measured_checkpointing=getattr(
                    pl_module.model, "is_activation_checkpointing", False
                ),
            )

    def on_exception(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Stops measuring."""
        self.running.close()
        self.flops = self.profile = None


def flop_counter() -> FlopCounterMode:
    """Counts operations as they are dispatched; those of a processor's kernels of attention and of
    LSTMs too, which torch's counter leaves out (not those of a card's LSTM, a kernel of cuDNN's).
    """

    def recurrent(states: Any, inward: Any, onward: Any, *_: Any, **__: Any) -> int:
        return int(2 * states[0] * states[1] * inward[0] * (inward[1] + onward[1]))

    def recurrent_backward(*given: Any, **_: Any) -> int:
        return 2 * recurrent(*given)

    aten = torch.ops.aten
    lstms = {
        aten.mkldnn_rnn_layer: recurrent,
        aten.mkldnn_rnn_layer_backward: recurrent_backward,
    }
    counter = FlopCounterMode(display=False, custom_mapping=lstms)
    counter.flop_registry |= {
        aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
    }
    return counter


def shape_of(batch: Any) -> tuple[int, int]:
    """Rows and width of a batch: of its first matrix; (0, 0) where it has none."""
    for value in batch.values() if isinstance(batch, Mapping) else batch:
        if isinstance(value, torch.Tensor) and value.ndim >= 2:
            return int(value.shape[0]), int(value.shape[1])
    return 0, 0


def is_even(batch: Any) -> bool:
    """Whether no row is padded, as far as a batch by names tells."""
    return not isinstance(batch, Mapping) or bool((batch["attention_mask"] > 0).all())


def allocated_peak(finished: profile) -> int:
    """Highest running sum of allocated bytes in a profile, against its beginning.

    Only what was allocated in it is taken off when it is freed: torch remembers the sizes of an
    earlier profile's blocks, and reports them for others that have come to lie at their addresses.
    """
    result = finished.profiler.kineto_results if finished.profiler is not None else None
    waiting: list[Any] = list(result.experimental_event_tree()) if result is not None else []
    changes: list[tuple[int, int, int]] = []  # when, address, bytes
    while waiting:
        event = waiting.pop()
        waiting += event.children
        tag, fields = event.typed
        if tag == _EventType.Allocation:
            changes.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    current = highest = 0
    live: dict[int, int] = {}
    for _, address, size in sorted(changes, key=lambda change: change[0]):
        if size > 0:
            live[address] = size
            current += size
        else:
            current -= live.pop(address, 0)
        highest = max(highest, current)
    return highest


def held_bytes(module: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> int:
    """Bytes of weights and optimizer states; of divided ones this process' part."""
    states = (
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    return sum(own_part(tensor).nbytes for tensor in (*module.parameters(), *states))


def note(path: Path, **figures: Any) -> None:
    """Adds figures to a file of them."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **figures}))


def usage(work: Path) -> dict[str, Any]:
    """What was noted of a finished training."""
    path = work / USAGE
    return json.loads(path.read_text()) if path.exists() else {}
