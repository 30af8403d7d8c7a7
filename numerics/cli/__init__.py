"""The command line: ``derive show|emit|check|train|docs``.

Exit codes: 0 right, 1 wrong (a check refused something), 2 not understood (usage, a file, a model text).
"""

from .app import app, run
