"""The `pointseg` command: one sub-command for every module of this package.

A sub-command module has `add_arguments(parser)`, `run(args) -> int` and `main(argv=None) -> int`;
the first line of its docstring is its help. It is imported only when its sub-command is called.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from pointseg.machine import keep_freed_memory

# Raised by the package itself these say what the user should change; raised anywhere else they are
# faults, and keep their traceback.
USER_ERRORS = (ValueError, TypeError, ImportError, LookupError)
WORKER_ERROR = "Caught "  # how torch begins the text of an error from a loader's worker
PACKAGE_DIR = Path(__file__).resolve().parent.parent


def commands() -> dict[str, str]:
    """Return the sub-commands: name -> name of the module behind it."""
    modules = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return {name.replace("_", "-"): f"{__name__}.{name}" for name in modules if name[0] != "_"}


def summary(module_name: str) -> str:
    """Return the first line of a module's docstring without importing it."""
    path = Path(__file__).with_name(module_name.rpartition(".")[2] + ".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def run_main(module_name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse `argv` for one sub-command module, run it and return its exit code.

    An error that the package raised on purpose becomes one line on stderr and exit code 2; set
    POINTSEG_TRACEBACK=1 to see where it came from. Any other error keeps its traceback.
    """
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=prog, description=module.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.add_arguments(parser)
    args = parser.parse_args(argv)
    keep_freed_memory()
    try:
        return int(module.run(args))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_user_error(error) or os.environ.get("POINTSEG_TRACEBACK", "0") not in ("", "0"):
            raise
        print(f"{parser.prog}: {user_message(error)}", file=sys.stderr)
        return 2


def is_user_error(error: Exception) -> bool:
    """Whether the message alone helps: a file problem, or an error this package raised itself."""
    if isinstance(error, OSError):
        return error.filename is not None or _raised_here(error)
    return isinstance(error, USER_ERRORS) and _raised_here(error)


def user_message(error: Exception) -> str:
    """The message alone: of an error that a loader's worker raised, without the traceback in it."""
    text = str(error)
    if not text.startswith(WORKER_ERROR):
        return text
    last = text.rstrip().rpartition(f"\n{type(error).__name__}: ")[2]
    return last or text


def _raised_here(error: Exception) -> bool:
    text = str(error)
    if text.startswith(WORKER_ERROR):  # raised again by torch, the worker's traceback as its text
        files = re.findall(r'^  File "(.+)", line \d+', text, flags=re.MULTILINE)
    else:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return bool(files) and PACKAGE_DIR in Path(files[-1]).resolve().parents


def main(argv: Sequence[str] | None = None) -> int:
    """Run the `pointseg` command."""
    names = commands()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in names:
        return run_main(names[arguments[0]], arguments[1:], prog=f"pointseg {arguments[0]}")
    parser = argparse.ArgumentParser(
        prog="pointseg", description="Semantic segmentation of 3D point clouds."
    )
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, module_name in names.items():
        subparsers.add_parser(name, help=summary(module_name), add_help=False)
    parser.parse_args(arguments)
    raise AssertionError("argparse accepted an unknown sub-command")


def _version() -> str:
    import pointseg

    return f"pointseg {pointseg.__version__}"
