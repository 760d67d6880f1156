"""Linear-recurrent sequential recommenders: train one, open it, see what it remembers of a user and why it recommends.

In three lines:

    import recblr
    model = recblr.load("mixed/recblr")
    model.recommend(["i001"], k=10)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recblr.version import VERSION as __version__

if TYPE_CHECKING:
    from recblr.checkpoint import load_run as load_run
    from recblr.checkpoint import save_run as save_run
    from recblr.recommender import Recommendations as Recommendations
    from recblr.recommender import Recommender as Recommender
    from recblr.recommender import load as load
    from recblr.runs import list_runs as list_runs

_HOME = {
    "Recommendations": "recblr.recommender",
    "Recommender": "recblr.recommender",
    "list_runs": "recblr.runs",
    "load": "recblr.recommender",
    "load_run": "recblr.checkpoint",
    "save_run": "recblr.checkpoint",
}
"""Where the public names live; torch is imported by the first use of one that needs it, not by ``import recblr``."""

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recblr' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
