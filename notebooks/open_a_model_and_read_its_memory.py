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
# # Open a model and read its memory
#
# The app's *Trace* page in a few lines: a trained RecBLR, one shopper of the sample log, and three questions.
# What does the model hold of this history? How long does it hold it? What would it recommend next?

# %%
from pathlib import Path

import numpy as np

import recblr
from recblr.checkpoint import SAMPLE_ROOT
from recblr.data import open_log
from recblr.data.simulator import load_truth
from recblr.figures import describe, heat, lives, memory
from recblr.figures.trajectory import trajectory

model = recblr.load("mixed/recblr")
sample = Path(SAMPLE_ROOT).parent / "mixed"
log, _ = open_log(sample)
truth = load_truth(sample, log)
model

# %% [markdown]
# ## One shopper
#
# The sample log is simulated, so every event knows its true cause. Let us take a shopper who redeems a loyalty pass:
# the reward at the end was decided by an event many steps earlier.

# %%
causes = truth.names()
rewards = np.flatnonzero(causes == "recall")
user = int(np.searchsorted(log.offsets, rewards, side="right")[0]) - 1
items, times = log.sequence(user)
history = [str(log.catalog.ids[item]) for item in items]
trace = model.trace(history, times.tolist())
start, end = log.offsets[user], log.offsets[user + 1]
own = slice(start, end)
events = describe(
    trace.items[0],
    trace.times[0],
    log.catalog,
    causes=causes[own].tolist(),
    cause_from=truth.cause_pos[own].tolist(),
)
events.frame().tail(12)

# %% [markdown]
# ## What does it hold?
#
# A recurrence keeps $h_t = a_t h_{t-1} + b_t$. The decay $a_t$ is decided by the event itself: low means *forget now*.

# %%
last = len(events) - 1
decay = heat(trace, 0, "decay", events)
print(decay.answer)
decay.figure

# %% [markdown]
# The identity behind every number on this page is checked, not assumed: rebuild the state from its parts.

# %%
layer = trace.layers[0]
rebuilt = np.zeros(layer.state.shape[-1])
for t in range(len(events)):
    rebuilt = layer.decay[0, t] * rebuilt + layer.entered[0, t]
error = float(np.abs(rebuilt - layer.state[0, -1]).max())
print(f"largest difference between the rebuilt state and the model's own: {error:.1e}")
assert error < 1e-4

# %% [markdown]
# ## For how long?
#
# The half-life of a channel is $\ln 2 / -\ln a$ steps. The *memory horizon* is the smallest number of recent events
# that hold 90 % of the state.

# %%
print(lives(trace, 0, events).answer)
held = memory(trace, 0, last, events)
print(held.answer)
held.figure

# %%
horizon = trace.horizon(0, last)
assert 1 <= horizon.items <= len(events)
f"{horizon.items} events, {horizon.days:.1f} days hold {horizon.share:.0%} of layer 1"

# %% [markdown]
# ## How does the state move?
#
# The first two principal components of the state, event by event.

# %%
path = trajectory(trace, 0, last, events)
print(path.answer)
path.figure

# %% [markdown]
# ## And what comes next?

# %%
model.recommend(history, k=5, times=times.tolist(), mask_seen=False).frame()
