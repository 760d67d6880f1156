"""The path of the state through its two widest directions (PCA)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from recblr.figures.events import Events
from recblr.figures.size import held
from recblr.figures.view import ROLES, View, new_figure, nothing, percent
from recblr.trace import Trace

_FEWEST = 3
"""Events that a path in two directions needs."""


def project(array: NDArray[np.inexact]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """([T, 2] coordinates, [2] shares of the variance) of a state [T, C]; complex parts count as channels."""
    flat = np.concatenate([array.real, array.imag], axis=1) if np.iscomplexobj(array) else array
    pca = PCA(n_components=2, svd_solver="full")
    path = pca.fit_transform(flat.astype(np.float64))
    return path, np.nan_to_num(pca.explained_variance_ratio_)


def trajectory(trace: Trace, layer: int, step: int, events: Events) -> View:
    """The state after each event as a point, joined in order; earlier events are fainter."""
    found = held(trace.layers[layer])
    if found is None:
        return nothing("Where does the state travel?", "This layer counts; it keeps no state that could travel.")
    array, word = found
    question = f"Where does the {word} travel?"
    if len(array) < _FEWEST or array.shape[1] < 2:
        note = f"A path needs {_FEWEST} events and 2 channels; there are {len(array)} and {array.shape[1]}."
        return nothing(question, note)
    path, share = project(array)
    names = np.stack([events.numbers.astype(object), np.array(events.titles, dtype=object)], axis=1)
    line = {
        "type": "scatter",
        "x": path[:, 0],
        "y": path[:, 1],
        "mode": "lines+markers",
        "line": {"color": ROLES["quiet"], "width": 1},
        "marker": {"color": ROLES["state"], "size": 7, "opacity": np.linspace(0.25, 1.0, len(path))},
        "customdata": names,
        "hovertemplate": "after event %{customdata[0]}: %{customdata[1]}<extra></extra>",
    }
    here = {
        "type": "scatter",
        "x": path[step : step + 1, 0],
        "y": path[step : step + 1, 1],
        "mode": "markers+text",
        "marker": {"symbol": "circle-open", "size": 16, "color": ROLES["negative"], "line": {"width": 2.5}},
        "text": [str(events.first + step)],
        "textposition": "top center",
        "hoverinfo": "skip",
    }
    figure = new_figure(
        [line, here],
        height=360,
        x_title=f"first direction, {percent(share[0])}",
        y_title=f"second, {percent(share[1])}",
    )
    jumps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    most = 1 + int(np.argmax(jumps))
    answer = (
        f"The two directions show {percent(float(share.sum()))} of how the {word} varies over these events; in them, "
        f"the longest jump is made by event {events.first + most} (“{events.titles[most]}”)."
    )
    table = events.frame().assign(first=path[:, 0], second=path[:, 1])
    return View(question=question, answer=answer, figure=figure, table=table)
