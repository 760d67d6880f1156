from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recblr.data.fit import fit_to_catalog
from recblr.data.log import Catalog, InteractionLog
from recblr.data.read import from_frame
from recblr.errors import DataError

from .conftest import sequences

TIME = 1577872801


def catalog_of(*ids: str, **more) -> Catalog:
    return Catalog(ids=np.array(["", *ids]), **more)


def shop(items=None) -> InteractionLog:
    events = [("1", "a", 1), ("1", "b", 2), ("1", "c", 3), ("2", "b", 1), ("3", "a", 1), ("3", "c", 9)]
    users, item_ids, times = zip(*((user, item, TIME + time) for user, item, time in events), strict=True)
    return from_frame(pa.table({"user": users, "item": item_ids, "time": times}), items=items)[0]


def test_a_log_of_the_same_catalogue_stays_as_it_is():
    log = shop()
    fitted = fit_to_catalog(log, catalog_of("a", "b", "c"))
    assert fitted.items is log.items
    assert fitted.fingerprint == log.fingerprint


def test_items_take_the_internal_ids_of_the_checkpoint():
    log = shop()
    fitted = fit_to_catalog(log, catalog_of("z", "c", "b", "a"))
    assert fitted.items.tolist() == [4, 3, 2, 3, 4, 2]
    assert sequences(fitted) == sequences(log)
    assert fitted.items.dtype == np.int32


def test_events_of_unknown_items_and_users_without_any_left_are_dropped_and_counted(caplog):
    log = shop()
    with caplog.at_level(logging.WARNING):
        fitted = fit_to_catalog(log, catalog_of("c", "a"))
    assert sequences(fitted) == {
        "1": [("a", TIME + 1), ("c", TIME + 3)],
        "3": [("a", TIME + 1), ("c", TIME + 9)],
    }
    assert fitted.offsets.tolist() == [0, 2, 4]
    assert log.n_events - fitted.n_events == 2
    assert "2 events dropped" in caplog.text


@pytest.mark.parametrize("ids", [("b",), ("x", "y"), ()])
def test_a_checkpoint_of_another_catalogue_is_refused(ids: tuple[str, ...]):
    with pytest.raises(DataError, match=r"a checkpoint of another catalogue: it knows the items of \d of the 6 events"):
        fit_to_catalog(shop(), catalog_of(*ids))


def test_half_of_the_events_is_enough():
    assert fit_to_catalog(shop(), catalog_of("b", "c", "q")).n_events == 4


def test_texts_that_the_checkpoint_lacks_come_from_the_log():
    log = shop(items=pd.DataFrame({"id": ["a", "b", "c"], "title": ["A", "B", "C"], "aisle": ["1", "2", "3"]}))
    fitted = fit_to_catalog(log, catalog_of("c", "new", "a", "b"))
    assert fitted.catalog.titles.tolist() == ["", "C", "", "A", "B"]
    assert fitted.catalog.columns["aisle"].tolist() == ["", "3", "", "1", "2"]
    named = catalog_of("a", "b", "c", titles=np.array(["", "x", "y", "z"]))
    assert fit_to_catalog(log, named).catalog.titles.tolist() == ["", "x", "y", "z"]
    assert fit_to_catalog(log, named).catalog.fingerprint == named.fingerprint
