"""Everything the app keeps between reruns, and the only place with Streamlit's cache decorators.

Keys are names and fingerprints, never arrays. What is cached is shared by all sessions, so nobody may change it.
torch and scikit-learn are imported here when they are first needed: the first paint does not wait for them.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module

import streamlit as st


@st.cache_resource(show_spinner=False)
def warm_up() -> threading.Thread:
    """Imports what the pages will need, in the background, once a server.

    One history is too little work to share between threads: waiting for one another takes longer than the sums. Each
    library reads the variable when it is loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    def heavy() -> None:
        for module in ("recblr.recommender", "recblr.evaluation.ranking", "recblr.figures.trajectory"):
            import_module(module)

    thread = threading.Thread(target=heavy, name="warm-up", daemon=True)
    thread.start()
    return thread
