"""``python -m derive``, the same as the command ``derive``: the one place here that may reach for numerics, lazily."""

import sys


def main() -> int:
    """Run the command line and return its exit code: 0 right, 1 wrong, 2 not understood."""
    try:
        from numerics.cli import run
    except ModuleNotFoundError as error:
        if error.name in ("typer", "rich"):
            print(f"derive: the command line needs {error.name}; pip install 'derive-numerics[train]'", file=sys.stderr)
            return 2
        raise
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
