"""Other engines, measured beside us where they can be imported, each in a process of its own.

None is a dependency. A worker module of this package knows one engine; `process.py` starts it,
hands the problem over in files and takes results and times back.
"""

from __future__ import annotations

from pointseg.benchmark.peers.process import Peer, PeerFailure, find_peers

PEERS = (
    Peer(
        "MinkowskiEngine",
        "pointseg.benchmark.peers.minkowski_worker",
        ("kernel_map", "sparse_conv", "depthwise_conv"),
    ),
    # More than one thread gives wrong results.
    Peer("spconv", "pointseg.benchmark.peers.spconv_worker", ("kernel_map", "sparse_conv"), 1),
)

__all__ = ["PEERS", "Peer", "PeerFailure", "find_peers"]
