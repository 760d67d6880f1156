from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recblr.backbones import REGISTRY
from recblr.checkpoint import Run
from recblr.data.log import Catalog
from recblr.errors import ExplainError, HistoryError
from recblr.explain import METHODS, ask, explain, method_for, methods_of
from recblr.recommender import Recommender


@pytest.fixture
def recommender(make, tmp_path):
    def made(protocol):
        catalog = Catalog(ids=np.array(["", *[f"i{n:02d}" for n in range(1, 13)]]))
        config = {"train": {"protocol": protocol}}
        return Recommender(
            Run(folder=tmp_path, name="toy", model=make("recblr"), catalog=catalog, config=config, metrics={})
        )

    return made


def test_a_recommender_is_asked_in_external_ids(recommender):
    opened = recommender("recbole")
    found = explain(opened, ["i03", "i01", "i07"], target="i10", contrast="i11")
    assert found.items.tolist() == [3, 1, 7]
    assert (found.target, found.contrast) == (10, 11)
    wanted = explain(opened.run.model, [3, 1, 7], target=10, contrast=11)
    np.testing.assert_array_equal(found.values, wanted.values)
    scores = opened.scores(["i03", "i01", "i07"])
    assert found.logit == pytest.approx(float(scores[10] - scores[11]), abs=1e-5)


def test_a_target_outside_the_catalogue_is_named_with_an_example(recommender):
    with pytest.raises(ExplainError, match="target 'x99' is not in the catalogue of 'toy': its ids look like 'i01'"):
        explain(recommender("recbole"), ["i03"], target="x99")
    with pytest.raises(ExplainError, match="contrast 'x99' is not in the catalogue"):
        explain(recommender("recbole"), ["i03"], target="i01", contrast="x99")


def test_a_target_that_is_the_contrast_is_refused(recommender):
    with pytest.raises(ExplainError, match="target and contrast are both item 'i05'"):
        explain(recommender("recbole"), ["i03"], target="i05", contrast="i05")


def test_a_target_in_the_history_is_refused_where_the_protocol_masks_it(recommender):
    with pytest.raises(ExplainError, match=r"already in the history.*run's protocol lrurec"):
        explain(recommender("lrurec"), ["i03", "i05"], target="i05")
    found = explain(recommender("lrurec"), ["i03", "i05"], target="i05", mask_seen=False)
    assert any("already in the history" in note for note in found.notes)


def test_a_target_in_the_history_is_explained_with_a_note_where_the_protocol_lets_it_compete(recommender):
    found = explain(recommender("recbole"), ["i03", "i05"], target="i05")
    assert any("already in the history" in note for note in found.notes)
    with pytest.raises(ExplainError, match="as asked"):
        explain(recommender("recbole"), ["i03", "i05"], target="i05", mask_seen=True)


def test_unknown_ids_of_a_history_are_skipped_and_noted(recommender):
    found = explain(recommender("recbole"), ["i03", "what", "i05"], target="i01")
    assert len(found.values) == 2
    assert any("skipped: 1" in note for note in found.notes)


def test_an_empty_history_is_refused(recommender, make):
    with pytest.raises(HistoryError, match="the history is empty"):
        explain(recommender("recbole"), [], target="i01")
    with pytest.raises(HistoryError, match="at least one"):
        explain(make("recblr"), [], target=1)


def test_a_long_history_is_cut_to_what_the_model_reads_and_noted(make):
    found = explain(make("recblr"), np.arange(30) % 9 + 1, np.arange(30), target=10)
    assert len(found.values) == 24
    assert found.times[0] == 6
    assert any("does not read: 6" in note for note in found.notes)


@pytest.mark.parametrize(("history", "word"), [([1, 13], r"history\[1\] is 13"), ([0, 1], r"history\[0\] is 0")])
def test_ids_outside_the_catalogue_are_refused(make, history, word):
    with pytest.raises(HistoryError, match=word):
        explain(make("recblr"), history, target=10)


@pytest.mark.parametrize("target", [0, 13, -1, "7", True, 2.0])
def test_a_target_that_is_no_internal_id_is_refused(make, target):
    with pytest.raises(ExplainError, match="internal ids run from 1 to 12"):
        explain(make("recblr"), [1, 2], target=target)


def test_times_must_be_as_many_as_events(make):
    with pytest.raises(HistoryError, match="3 events and 2 times"):
        explain(make("recblr"), [1, 2, 3], [5, 6], target=10)


def test_times_appear_where_they_were_given(make):
    assert explain(make("recblr"), [1, 2], target=10).times is None
    assert explain(make("recblr"), [1, 2], [5, 6], target=10).times.tolist() == [5, 6]


def test_an_unknown_method_is_named_with_the_choices(make):
    with pytest.raises(ExplainError, match="no explanation method 'magic': choose one of held_gates"):
        explain(make("recblr"), [1, 2], target=10, method="magic")


@pytest.mark.parametrize("name", ["markov", "popularity"])
def test_a_counting_baseline_has_no_gates_to_hold(make, name):
    with pytest.raises(ExplainError, match=f"held_gates cannot explain {name}.*choose one of .*counts"):
        explain(make(name), [1, 2], target=10)


def test_a_backbone_that_learns_has_no_counts(make):
    with pytest.raises(ExplainError, match="counts cannot explain sasrec"):
        explain(make("sasrec"), [1, 2], target=10, method="counts")


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_method_that_a_backbone_is_said_to_have_answers(make, history, name):
    model = make(name)
    assert methods_of(model) == methods_of(REGISTRY[name])
    for method in methods_of(model):
        found = explain(model, history.items[:4], history.times[:4], target=10, contrast=11, method=method.name)
        assert found.method == method.name
        assert found.exactness == method.exactness
        assert len(found.values) == 4


def test_every_method_of_the_registry_can_be_had_by_some_backbone():
    assert {one.name for cls in REGISTRY.values() for one in methods_of(cls)} == set(METHODS)


def test_a_markov_chain_is_explained_by_its_last_event(make, history):
    model = make("markov")
    found = explain(model, history.items, target=10, contrast=11, method="counts")
    assert np.count_nonzero(found.values[:-1]) == 0
    chance = model.probabilities()
    assert found.remainder == pytest.approx(float((chance[10] / chance[11]).log()), abs=1e-6)
    assert any("last event alone" in note for note in found.notes)


def test_popularity_is_explained_by_no_event(make, history):
    found = explain(make("popularity"), history.items, target=10, method="counts")
    assert not found.values.any()
    assert any("reads no history" in note for note in found.notes)


def test_methods_are_listed_for_what_only_looks_like_a_backbone():
    stand_in = SimpleNamespace(name="x", title="X", learns=True, recurrent=False)
    assert method_for("held_gates", stand_in).name == "held_gates"


def test_a_question_about_another_history_is_the_same_question(make, history):
    question = ask(make("recblr"), history.items, history.times, target=5)
    other = question.about(history.items[:4], history.times[:4])
    assert other.target == 5
    assert other.notes == ()
    assert other.seen == question.seen, "what was taken out of a history was seen all the same"
    assert replace(question, target=3).target == 3
