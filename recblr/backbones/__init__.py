"""The registry of backbones: a new one is one file here and one line below."""

from __future__ import annotations

from recblr.backbones.base import Batch, SequentialBackbone, make_config
from recblr.backbones.deltanet import DeltaNet
from recblr.backbones.gru4rec import GRU4Rec
from recblr.backbones.hllm import HLLM
from recblr.backbones.hstu import HSTU
from recblr.backbones.lrurec import LRURec
from recblr.backbones.mamba4rec import Mamba4Rec
from recblr.backbones.markov import Markov
from recblr.backbones.mingru import MinGRU
from recblr.backbones.persrec import PerSRec
from recblr.backbones.popularity import Popularity
from recblr.backbones.recblr import RecBLR
from recblr.backbones.sasrec import SASRec
from recblr.backbones.ssd4rec import SSD4Rec
from recblr.backbones.tbdlru import TBDLRU
from recblr.backbones.tim4rec import TiM4Rec
from recblr.backbones.tisasrec import TiSASRec
from recblr.errors import ConfigError

_BACKBONES: tuple[type[SequentialBackbone], ...] = (
    RecBLR,
    TBDLRU,
    LRURec,
    Mamba4Rec,
    SSD4Rec,
    TiM4Rec,
    SASRec,
    TiSASRec,
    HSTU,
    HLLM,
    PerSRec,
    MinGRU,
    DeltaNet,
    GRU4Rec,
    Markov,
    Popularity,
)

REGISTRY: dict[str, type[SequentialBackbone]] = {cls.name: cls for cls in _BACKBONES}


def backbone(name: str) -> type[SequentialBackbone]:
    """The backbone class of a registry name."""
    if name not in REGISTRY:
        raise ConfigError(f"no backbone {name!r}: choose one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


__all__ = ["REGISTRY", "Batch", "SequentialBackbone", "backbone", "make_config"]
