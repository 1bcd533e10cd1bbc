"""The terminal that commands print to."""

import os
import sys

from rich.console import Console

# A descriptor of its own: what steps print goes elsewhere while they run.
console = Console(file=os.fdopen(os.dup(1), "w"), width=None if sys.stdout.isatty() else 140)
