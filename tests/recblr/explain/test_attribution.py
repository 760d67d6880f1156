import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from recblr.data.log import Catalog
from recblr.errors import ExplainError
from recblr.explain import Attribution

FIELDS = {
    "values": np.array([1.0, -0.5, 2.0]),
    "items": np.array([4, 5, 6]),
    "target": 1,
    "method": "held_gates",
    "exactness": "exact with gates held",
    "logit": 3.0,
    "remainder": 0.5,
    "error": 1e-6,
}


def made(**fields):
    return Attribution(**{**FIELDS, **fields})


def test_parts_that_miss_the_logit_are_refused_with_the_numbers():
    with pytest.raises(ExplainError, match=r"values 2\.5 and remainder 0\.5 miss the logit 3\.2 by 0\.2"):
        made(logit=3.2)


def test_parts_may_miss_the_logit_by_the_error_that_is_stated():
    assert made(logit=3.2, error=0.21, exactness="estimate").gap == pytest.approx(0.2)


def test_an_identity_with_a_large_error_is_refused():
    with pytest.raises(ExplainError, match=r"claims to be exact with an error of 0\.1"):
        made(exactness="exact", error=0.1)


def test_there_are_four_kinds_of_statement_and_no_fifth():
    with pytest.raises(ExplainError, match="choose one of exact, exact with gates held, estimate, intervention"):
        made(exactness="roughly")


def test_values_and_events_must_be_as_many():
    with pytest.raises(ExplainError, match=r"items has shape \(2,\), values \(3,\)"):
        made(items=np.array([4, 5]))


def test_a_value_that_is_not_a_number_is_refused():
    with pytest.raises(ExplainError, match="is not finite"):
        made(values=np.array([np.nan, 0.0, 0.0]))


def test_an_attribution_cannot_be_changed():
    one = made()
    with pytest.raises(ValueError, match="read-only"):
        one.values[0] = 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.logit = 9


def test_shares_are_signed_and_their_sizes_sum_to_one():
    np.testing.assert_allclose(made().shares(), np.array([1.0, -0.5, 2.0]) / 3.5)


def test_an_estimate_whose_error_passes_a_fifth_of_what_it_explains_prints_no_shares():
    fair = made(exactness="estimate", error=0.49)  # it explains 3 - 0.5 = 2.5
    poor = made(exactness="estimate", error=0.51)
    assert fair.reliable
    assert not poor.reliable
    with pytest.raises(ExplainError, match="no shares from held_gates"):
        poor.shares()
    assert [row["share"] for row in poor.rows()] == [None] * 3


def test_the_order_begins_with_the_strongest_support_and_the_later_event_among_equals():
    assert made(values=np.array([1.25, 1.25, 0.0])).order().tolist() == [1, 0, 2]


def test_rows_name_items_as_the_asker_knows_them():
    catalog = Catalog(ids=np.array(["", *"abcdef"]))
    assert [row["item"] for row in made().rows(catalog)] == ["d", "e", "f"]
    assert made().as_dict(catalog)["target"] == "a"


def test_menus_of_methods_need_neither_torch_nor_captum():
    code = (
        "import sys; from recblr.explain import METHODS, Attribution; print(len(METHODS) > 5);"
        "print(sorted({'torch', 'captum'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["True", "[]"]
