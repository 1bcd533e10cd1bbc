"""corpus: from sources to valid, deduplicated documents (SPEC D1-D5)."""

VERSION = "4"  # of the code: another one, and every part of every table is made anew
