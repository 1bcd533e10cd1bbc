"""Fields: how the columns of contracts are written down."""

import pyarrow as pa


def described(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    """A column with its meaning."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


LABELS = pa.list_(pa.string())
SPANS = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))


def targets(before: str, whose: str) -> list[pa.Field]:
    """Columns of a target; which one is filled is decided by the task's kind."""
    return [
        described(f"{before}labels", LABELS, f"{whose}: its labels (multi_label)", True),
        described(f"{before}spans", SPANS, f"{whose}: spans of characters, end exclusive", True),
        described(f"{before}value", pa.float64(), f"{whose}: number (regression)", True),
    ]
