"""Regions for codebook entries: fitted to the occupancy of a dataset, measured, kept in a file."""

from __future__ import annotations

from pointseg.geometry.fitting import FitSettings, fit_regions
from pointseg.geometry.patterns import Patterns, merge_patterns, occupancy_patterns
from pointseg.geometry.preference import preferred_entry, standardised_shares
from pointseg.geometry.region_file import RegionFile, StageRegions, load_regions, save_regions
from pointseg.geometry.survey import Sampling, fit_stages, measure_stage, measure_stages

__all__ = [
    "FitSettings",
    "Patterns",
    "RegionFile",
    "Sampling",
    "StageRegions",
    "fit_regions",
    "fit_stages",
    "load_regions",
    "measure_stage",
    "measure_stages",
    "merge_patterns",
    "occupancy_patterns",
    "preferred_entry",
    "save_regions",
    "standardised_shares",
]
