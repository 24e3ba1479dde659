"""How predictions are made: which views are summed, and in which tiles they are computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from pointseg.evaluation.tiling import Tiling
from pointseg.evaluation.views import Views


@dataclass(frozen=True)
class Protocol:
    """What a score must be read with.

    Attributes
    ----------
    views
        Of every scene; where there are several, their logits are summed on the raw points.
    tiling
        Tiles of scenes with more voxels than a bound; None: every scene in one pass.
    """

    views: Views = field(default_factory=Views)
    tiling: Tiling | None = None

    @property
    def name(self) -> str:
        """As reports print it, such as ``single pass, raw points``."""
        tiles = [] if self.tiling is None else [self.tiling.statement]
        if self.views.is_identity:
            return ", ".join(["single pass", *tiles, "raw points"])
        views = f"TTA: {self.views.statement}"
        return ", ".join([views, "votes summed in logits", *tiles, "raw points"])


SINGLE_PASS = Protocol()
"""One forward pass per scene, no augmentation, no voting, no tiles."""
