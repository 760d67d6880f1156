# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Why was this recommended?
#
# The app's pages *Why*, *What if* and *Trust* in a few lines. One shopper bought a pass long ago and redeems it now;
# RecBLR recommends the reward of that pass. Does it know why, and can its explanation be believed?

# %%
import numpy as np

import recblr
from recblr.data import open_log
from recblr.data.simulator import load_truth
from recblr.evaluation.protocols import protocol
from recblr.explain import METHODS, Variant, ask, explain, minimal_removal
from recblr.explain.faithfulness.agreement import agreement
from recblr.explain.faithfulness.axioms import by_name
from recblr.explain.faithfulness.cases import held_out_cases
from recblr.explain.faithfulness.curves import curve
from recblr.explain.faithfulness.pointing import pointing_game
from recblr.explain.outcomes import outcomes
from recblr.explain.removal import without
from recblr.figures import (
    deletion_curve,
    explained_events,
    method_agreement,
    movement,
    removals,
    scoreboard,
    waterfall,
)
from recblr.runs import SAMPLE_ROOT

model = recblr.load("mixed/recblr")
catalog = model.run.catalog
sample = SAMPLE_ROOT.parent / "mixed"
log, _ = open_log(sample)
items, moments = log.sequence(log.user_index["u0012"])
ids, times = log.catalog.ids[items].tolist()[:28], moments.tolist()[:28]
best, second = model.recommend(ids, k=2, times=times, mask_seen=False)
best, second

# %% [markdown]
# ## What each event added
#
# With its gates held, the model is a sum over events, at any depth: nothing is estimated, and the parts add up to the
# difference of the two logits. A logit is the score before it becomes a probability.

# %%
why = explain(model, ids, times, target=best.item, contrast=second.item, mask_seen=False)
events = explained_events(why, catalog)
view = waterfall(why, events, catalog)
print(view.answer)
print(f"{why.exactness}, error {why.error:.1e} logits")
view.figure

# %%
scores = model.scores(ids, times)
difference = float(scores[why.target] - scores[why.contrast])
assert abs(why.values.sum() + why.remainder - difference) < 1e-4
f"events {why.values.sum():+.3f}, no event {why.remainder:+.3f}, difference of the logits {difference:+.3f}"

# %% [markdown]
# ## What would be missing
#
# To take an event out and run the model again asks something else: not what the event added, but what would change
# without it. Two events are needed for this reward, the pass and the redeeming; removal finds both.

# %%
question = ask(model, ids, times, target=best.item, mask_seen=False)
given = Variant(items=question.items, times=question.times)
now = outcomes(question, [given])
single = outcomes(question, without(question, [(place,) for place in range(len(given))]))
view = removals(single, now, events, best.title)
print(view.answer)
view.table.head(3)

# %% [markdown]
# ## The smallest change that matters
#
# Every edit is a new variant that knows its parent, and every answer is the model's own on the edited history.

# %%
found = minimal_removal(question, k=10)
print(f"without event {[place + 1 for place in found.positions]}: rank {found.rank_before:g} to {found.rank_after:g}")
view = movement(now, outcomes(question, [found.variant]), question.target, catalog, name="without it")
assert outcomes(question, [found.variant]).rank[0] == found.rank_after > 10
print(view.answer)
view.figure

# %% [markdown]
# ## Can it be believed?
#
# Leave out the events in the order of the explanation. If the lead falls faster than it does in random orders, the
# explanation knows what the model does. Without the band of random orders such a curve would mean nothing.

# %%
contrasted = ask(model, ids, times, target=best.item, contrast=second.item, mask_seen=False)
drawn = curve(contrasted, why)
view = deletion_curve(drawn, name="held gates")
print(view.answer)
view.figure

# %% [markdown]
# Other methods need not agree, and a method that misses the whole by too much shows no shares at all.

# %%
names = ["held_gates", "removal", "gradient_input", "integrated_gradients"]
several = [
    explain(model, ids, times, target=best.item, contrast=second.item, method=name, mask_seen=False) for name in names
]
for one in several:
    print(f"{METHODS[one.method].title:22}{one.exactness:24}error {one.error:8.1e}  shares shown: {one.reliable}")
titles = {name: method.title for name, method in METHODS.items()}
view = method_agreement(agreement(several), titles)
print(view.answer)
view.figure

# %% [markdown]
# ## Does it name the true cause?
#
# The sample log is simulated, so every event knows which earlier event decided it. A few held-out events of each cause;
# the app's *Trust* page plays the same game with more.

# %%
rule = protocol(model.run.config["train"]["protocol"])
cases = held_out_cases(log, load_truth(sample, log), rule, model.run.model.config.max_len, 8, anew=False)
methods = {name: lambda asked, name=name: by_name(name, asked)(asked) for name in names[:3]}
game = pointing_game(cases, model.run.model, methods)
view = scoreboard([one.row() for one in game], titles)
print(view.answer)
view.figure

# %%
hits = {name: np.mean([one.hit.mean() for one in game if one.method == name]) for name in (*methods, "chance")}
assert hits["held_gates"] > 0.5 > 10 * hits["chance"]
hits
