"""Pictures of scenes: HTML pages that open anywhere, windows, screenshots."""

from pointseg.visualization.index import write_index_page
from pointseg.visualization.page import PageSummary, write_scene_page
from pointseg.visualization.thinning import Thinning, thin

__all__ = ["PageSummary", "Thinning", "thin", "write_index_page", "write_scene_page"]
