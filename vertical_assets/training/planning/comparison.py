"""What the formulas say of a training's measured step, beside what it took (SPEC M4)."""

from typing import Any

from vertical_assets.training.planning.costs import step_flops, step_memory
from vertical_assets.training.planning.layers import Shape, Way
from vertical_assets.training.planning.networks import Network, with_dropout


def predicted_and_measured(
    network: Network, used: dict[str, Any], share: float, packed_length: float | None = None
) -> dict[str, Any]:
    """What the formulas say of the measured step beside what it took; empty where none was.

    Args:
        network: of the model that was trained.
        used: see `monitor.usage`.
        share: of the tokens, those that are predicted, where the network predicts tokens.
        packed_length: mean tokens of the texts, where they lie end to end in one row.
    """
    if not used.get("measured_rows"):
        return {}
    if not used["measured_with_dropout"]:
        network = with_dropout(network, 0.0)
    rows, width = used["measured_rows"], used["measured_width"]
    if packed_length is not None:
        rows, width = max(1, round(width / packed_length)), round(packed_length)
    predicted = round(share * rows * width) if network.predicts == "tokens" else rows
    way = Way(
        half=used["measured_half"],
        cuda=used["measured_cuda"],
        checkpointing=used["measured_checkpointing"],
        sharded=used["measured_sharded"],
    )
    shape = Shape(rows, width, predicted, used["measured_even"])
    memory, flops = step_memory(network, shape, way).peak, step_flops(network, shape, way)
    return {
        "step": f"{rows} x {width} tokens",
        "predicted_bytes": memory,
        "measured_bytes": used["measured_bytes"],
        "bytes_ratio": round(memory / used["measured_bytes"], 4),
        "predicted_flops": flops,
        "measured_flops": used["measured_flops"],
        "flops_ratio": round(flops / max(1, used["measured_flops"]), 4),
    }
