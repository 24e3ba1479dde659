from __future__ import annotations
def read_cloud(path): raise NotImplementedError
def check_units(cloud): raise NotImplementedError
