"""Linear recurrences for sequence models: ``h_t = a_t * h_{t-1} + b_t`` and its relatives.

    B batch, T time, D channels, N packed events (sum of all lengths), S sequences in a pack

Operators take [B, T, D], or [N, D] packed with ``cu_seqlens`` [S+1]. Any T >= 1, any strides, float32 or bfloat16 in
with float32 accumulation, float64 throughout; gradients for every floating input and through the final state. They are
torch operators (``torch.ops.lrscan``), so `torch.compile` keeps them whole.
"""

from lrscan.delta import delta_scan, delta_step
from lrscan.dispatch import backends, use_backend
from lrscan.operators import complex_scan, complex_step, gated_scan, gated_step, linear_scan, linear_step
from lrscan.state_space import selective_scan, selective_step, ssd_scan, ssd_step

__all__ = [
    "backends",
    "complex_scan",
    "complex_step",
    "delta_scan",
    "delta_step",
    "gated_scan",
    "gated_step",
    "linear_scan",
    "linear_step",
    "selective_scan",
    "selective_step",
    "ssd_scan",
    "ssd_step",
    "use_backend",
]
