"""Options that would do nothing are refused, not passed over."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from pointseg.cli._device import AUTO_DEVICE


def refuse_idle(options: Mapping[str, object], reason: str) -> None:
    """ValueError that names those of ``options`` (name -> value) that were given."""
    given = [name for name, value in options.items() if _is_given(value)]
    if given:
        raise ValueError(f"{', '.join(given)}: {reason}")


def prediction_options(args: argparse.Namespace) -> dict[str, object]:
    """The options that all commands with a model share, apart from ``--checkpoint``."""
    return {
        "--set": args.set or None,
        "--device": None if args.device == AUTO_DEVICE else args.device,
        "--tta": args.tta,
        "--max-voxels": args.max_voxels,
        "--margin": args.margin,
    }


def _is_given(value: object) -> bool:
    return value is not None and value is not False
