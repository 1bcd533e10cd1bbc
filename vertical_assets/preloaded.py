"""What the server that a run's steps are forked from imports: the definitions, made once for all
steps instead of by each of them, a second or two.
"""

import contextlib

from vertical_assets.definitions import loaded, project_folder

# The server would die of an error, and nobody would see it; a step meets it again and says it.
with contextlib.suppress(Exception):
    loaded(project_folder()).get_repository_def()
