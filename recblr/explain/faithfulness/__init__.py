"""Is an explanation faithful? Measures of it, each by running the model again.

curves        deletion and insertion beside a band of random orders
erasure       comprehensiveness, sufficiency, normalised AOPC
axioms        infidelity, sensitivity, completeness, randomisation of the weights (imports captum)
agreement     rank correlation between methods
pointing      on a simulated log: does the explanation point at the event that truly decided?
scoreboard    all of it for one run
reruns        the model on many parts of a history at once, which the others share
"""
