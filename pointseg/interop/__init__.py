"""Exchange with other libraries: MinkowskiEngine's checkpoints and tensors."""

from pointseg.interop.minkowski import from_minkowski, import_minkowski, to_minkowski
from pointseg.interop.state_dicts import (
    from_minkowski_state_dict,
    load_minkowski_state_dict,
    minkowski_names,
    to_minkowski_state_dict,
)

__all__ = [
    "from_minkowski",
    "from_minkowski_state_dict",
    "import_minkowski",
    "load_minkowski_state_dict",
    "minkowski_names",
    "to_minkowski",
    "to_minkowski_state_dict",
]
