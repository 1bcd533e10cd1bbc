"""The sandbox needs a kernel that can confine; where there is none, the reason is said."""

import pytest

from vertical_assets.evaluation.instruction.sandbox import Limits, SandboxError, run_answer


@pytest.fixture(scope="session")
def confined() -> None:
    """Skips what runs programs on a machine that has no sandbox for them."""
    try:
        run_answer("", test="def check(answer):\n    pass\n", limits=Limits())
    except SandboxError as error:
        pytest.skip(str(error))
