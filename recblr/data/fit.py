"""A log read in the item ids of a checkpoint, so that a model can be shown any log of the items it knows."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from recblr.data.log import Catalog, InteractionLog
from recblr.errors import DataError

_LEAST_SHARE = 0.5
_logger = logging.getLogger(__name__)


def fit_to_catalog(log: InteractionLog, catalog: Catalog) -> InteractionLog:
    """The same log in the internal ids of `catalog`.

    Events of items that the catalogue lacks are dropped, and users who then have none; ``log.n_events`` less the
    result's is their number, which is also logged. Titles and text columns that the catalogue lacks come from the log.
    Errors: DataError when less than half of the events remain: the checkpoint was made for another catalogue.
    """
    texts = _with_texts(catalog, log.catalog)
    if log.catalog.fingerprint == catalog.fingerprint:
        return replace(log, catalog=texts)
    known = np.array([catalog.index.get(one, 0) for one in log.catalog.ids.tolist()], dtype=np.int32)
    items = known[log.items]
    keep = items > 0
    kept = int(keep.sum())
    if kept < _LEAST_SHARE * log.n_events or kept == 0:
        raise DataError(
            f"a checkpoint of another catalogue: it knows the items of {kept:,} of the {log.n_events:,} events of log "
            f"{log.name!r}: open the log that it was trained on, or train on this one"
        )
    if kept < log.n_events:
        _logger.warning(
            "log %r: %s events dropped: their items are not in the checkpoint", log.name, log.n_events - kept
        )
    before = np.concatenate([[0], np.cumsum(keep)])
    lengths = before[log.offsets[1:]] - before[log.offsets[:-1]]
    present = lengths > 0
    return replace(
        log,
        items=items[keep],
        times=log.times[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths[present])]).astype(np.int64),
        users=log.users[present],
        catalog=texts,
    )


def _with_texts(catalog: Catalog, source: Catalog) -> Catalog:
    """`catalog` with the titles and columns of `source` that it lacks; the ids, and so the fingerprint, stay."""
    missing = {name: column for name, column in source.columns.items() if name not in catalog.columns}
    titles = source.titles if catalog.titles is None else None
    if titles is None and not missing:
        return catalog
    # Row 0, the padding, has no text in either: it also stands for an item that the source lacks.
    rows = np.array([source.index.get(one, 0) for one in catalog.ids.tolist()], dtype=np.int64)
    return Catalog(
        ids=catalog.ids,
        titles=catalog.titles if titles is None else titles[rows],
        columns={**catalog.columns, **{name: column[rows] for name, column in missing.items()}},
    )
