"""All peers. To add one: a `Peer` in the list of its family's file."""

from bench.peers import flash, jax_scan, ours, published, rnn, torch_scans, warp
from bench.peers.base import Peer

PEERS: list[Peer] = [
    *ours.PEERS,
    *published.PEERS,
    *torch_scans.PEERS,
    *jax_scan.PEERS,
    *rnn.PEERS,
    *warp.PEERS,
    *flash.PEERS,
]
