"""Make `import pointseg` in a tool mean this project's package.

Where it is not installed, the checkout the tool lies in is used. Where another package of that name
is installed, the tool stops and says so, instead of failing on a module the other one lacks.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def use_pointseg() -> None:
    spec = find_spec("pointseg")
    if spec is None:
        sys.path.insert(0, str(CHECKOUT))
        return
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not any((folder / "_native.py").is_file() for folder in folders):
        place = ", ".join(map(str, folders)) or spec.origin
        raise SystemExit(
            f"another package named pointseg is installed ({place}) and hides this one: "
            "`pip uninstall pointseg`, then run `make build` or "
            f"`pip install --no-build-isolation -e .` in {CHECKOUT}"
        )


use_pointseg()
