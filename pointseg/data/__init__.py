"""Scenes: files -> PointCloud -> transforms -> voxels -> batches."""
