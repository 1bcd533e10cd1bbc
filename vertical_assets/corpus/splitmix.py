"""splitmix64: the mixing of hashes that all compiled modules share."""

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, inline="always")
def mix(value: Any) -> Any:
    """Finalizer of splitmix64 (Steele et al., 2014): a 64-bit value, every bit of it stirred."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
