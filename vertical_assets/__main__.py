"""`python -m vertical_assets` is the command `vertical-assets`."""

from vertical_assets.cli import main

main()
