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
# # Write your own scan kernel
#
# A linear recurrence reads a history event by event: $h_t = a_t h_{t-1} + b_t$. In five steps this lesson goes from a
# Python loop to a fused kernel, the kind that `lrscan` ships. Two rules hold throughout: **nothing is timed before it
# is right**, which means close to float64 in its output and in every gradient; and every time stands **beside a copy
# of the bytes that must move**, because that is as fast as it can get.

# %%
import os

os.environ["TRITON_INTERPRET"] = "1"  # step 5 runs a GPU kernel without a GPU; read when Triton is imported

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from lrscan.cases import Case, inputs, minimal_bytes
from lrscan.measure import COPY, check, copy_program, interleaved, oracle, program, results
from torch.nn.functional import softplus

torch.set_num_threads(1)
case = Case(operator="linear", batch=32, time=100, channels=64)
leaves, _ = inputs(case)
truth = oracle(case, leaves, None)
times = {COPY: copy_program(minimal_bytes(case), "cpu")}
errors = {}


def entered(name, run):
    """Refuse a wrong kernel; remember a right one for the race at the end."""
    errors[name] = max(check(results("both", run, leaves), truth, 2e-6, name).values())
    times[name] = program("both", run, leaves)
    timing = interleaved({COPY: times[COPY], name: times[name]}, repeats=9, seconds=0.5)[name]
    print(f"{name}: {timing.median_ms:.2f} ms, {timing.to_copy:.1f} times a copy, error {errors[name]:.0e}")


print(f"{case.batch} sequences of {case.time} events in {case.channels} channels;", end=" ")
print(f"forward and backward must move {minimal_bytes(case) / 1e6:.1f} MB at the least")

# %% [markdown]
# ## 1. The loop
#
# The definition, written down. Autograd records every step and plays the record backwards, so each step costs a dozen
# small operations and their bookkeeping.


# %%
def python_loop(given):
    h = torch.zeros_like(given["b"][:, 0])  # [B, D]
    steps = []
    for a, b in zip(given["a"].unbind(1), given["b"].unbind(1), strict=True):
        h = a * h + b
        steps.append(h)
    return torch.stack(steps, dim=1)  # [B, T, D]


entered("1 Python loop", python_loop)

# %% [markdown]
# ## 2. The backward pass by hand
#
# Let $v_t$ be the gradient of the loss with respect to $h_t$, everything later included. It follows a recurrence too,
# from the end to the start, and the gradients are products of what is at hand:
#
# $$v_t = g_t + a_{t+1} v_{t+1}, \qquad \partial b_t = v_t, \qquad \partial a_t = v_t \, h_{t-1}$$
#
# So autograd is not needed inside, and each step can write where its result belongs: `out=`.


# %%
class OwnBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        h = torch.empty_like(b)
        steps = h.unbind(1)
        steps[0].copy_(b[:, 0])
        for t in range(1, b.shape[1]):
            torch.addcmul(b[:, t], a[:, t], steps[t - 1], out=steps[t])
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, g):
        a, h = ctx.saved_tensors
        v = torch.empty_like(g)
        steps = v.unbind(1)
        steps[-1].copy_(g[:, -1])
        for t in range(g.shape[1] - 2, -1, -1):
            torch.addcmul(g[:, t], a[:, t + 1], steps[t + 1], out=steps[t])
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
        return v * before, v


entered("2 out= and own backward", lambda given: OwnBackward.apply(given["a"], given["b"]))

# %% [markdown]
# ## 3. The same in C
#
# Now the steps of the loop are the cost: each is a call into PyTorch that touches a few kilobytes. In C the whole scan
# is one call. Channels are the inner loop, so that the compiler turns it into vector instructions, and the previous
# state is still in the first-level cache when the next step reads it.

# %%
SCAN = """
void scan_forward(const float *a, const float *b, float *h, long B, long T, long D) {
    for (long n = 0; n < B; n++)
        for (long t = 0; t < T; t++) {
            long at = (n * T + t) * D;
            for (long d = at; d < at + D; d++) h[d] = b[d] + (t ? a[d] * h[d - D] : 0);
        }
}
void scan_backward(const float *a, const float *h, const float *g, float *da, float *db, long B, long T, long D) {
    for (long n = 0; n < B; n++)
        for (long t = T - 1; t >= 0; t--) {
            long at = (n * T + t) * D;
            for (long d = at; d < at + D; d++) {
                float v = g[d] + (t < T - 1 ? a[d + D] * db[d + D] : 0);
                db[d] = v;
                da[d] = t ? v * h[d - D] : 0;
            }
        }
}
"""
compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def compiled(source):
    """The functions of a C source, compiled for this processor; None where there is no compiler."""
    if compiler is None:
        return None
    folder = Path(tempfile.mkdtemp())
    (folder / "scan.c").write_text(source)
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, "-o", folder / "scan.so", folder / "scan.c", "-lm"], check=True)
    return ctypes.CDLL(str(folder / "scan.so"))


def run(function, *tensors):
    """Call it with the tensors' addresses and the sizes of the last one."""
    *_, shape = (tensor.shape for tensor in tensors)
    function(*(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors), *(ctypes.c_long(size) for size in shape))


library = compiled(SCAN)


class InC(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        h = torch.empty_like(b)
        run(library.scan_forward, a, b, h)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, g):
        a, h = ctx.saved_tensors
        da, db = torch.empty_like(a), torch.empty_like(a)
        run(library.scan_backward, a, h, g.contiguous(), da, db)
        return da, db


if library is None:
    print("There is no C compiler here; this step and the next are left out.")
else:
    entered("3 C", lambda given: InC.apply(given["a"], given["b"]))

# %% [markdown]
# ## 4. Fuse the gates
#
# A model does not have $a$ and $b$: it computes them from pre-activations. RecBLR's BD-LRU
# ([arXiv 2406.12580](https://arxiv.org/abs/2406.12580), equations 6 to 9) has
#
# $$a_t = e^{-u_t}, \quad u_t = \mathrm{softplus}(\Lambda)\,\sigma(r_t), \qquad
# b_t = \sqrt{1 - a_t^2}\;\sigma(i_t)\,x_t$$
#
# One torch operation after another reads and writes whole tensors a dozen times. Fused, the gates live in registers,
# and the backward pass **computes them again** instead of reading them: arithmetic is cheap where memory is the limit.
# The root is taken of `1 - exp(-2u)` by its series where $u$ is small, and not of `1 - a * a`, which would lose all its
# digits where $a$ is close to 1.

# %%
FUSED = """
#include <math.h>
static inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
static inline float one_minus_exp(float z) { /* 1 - e^-z for z >= 0: a series where subtracting would lose digits */
    float series = z * (1 - z / 2 * (1 - z / 3 * (1 - z / 4 * (1 - z / 5 * (1 - z / 6 * (1 - z / 7 * (1 - z / 8)))))));
    return z < 0.5f ? series : 1 - expf(-z);
}
void fused_forward(const float *rate, const float *x, const float *r, const float *i, float *h,
                   long B, long T, long D) {
    for (long n = 0; n < B; n++)
        for (long t = 0; t < T; t++) {
            long at = (n * T + t) * D;
            #pragma GCC ivdep
            for (long c = 0; c < D; c++) {
                long d = at + c;
                float u = rate[c] * sigmoid(r[d]);
                h[d] = sqrtf(one_minus_exp(2 * u)) * sigmoid(i[d]) * x[d] + (t ? expf(-u) * h[d - D] : 0);
            }
        }
}
void fused_backward(const float *rate, const float *x, const float *r, const float *i, const float *h, const float *g,
                    float *drate, float *dx, float *dr, float *di, long B, long T, long D) {
    float carry[D];
    for (long n = 0; n < B; n++) {
        for (long c = 0; c < D; c++) carry[c] = 0;
        for (long t = T - 1; t >= 0; t--) {
            long at = (n * T + t) * D;
            #pragma GCC ivdep
            for (long c = 0; c < D; c++) {
                long d = at + c;
                float sr = sigmoid(r[d]), si = sigmoid(i[d]), u = rate[c] * sr, a = expf(-u);
                float beta = sqrtf(one_minus_exp(2 * u)), v = g[d] + carry[c];
                float du = a * (a * v * si * x[d] / beta - (t ? v * h[d - D] : 0));
                dx[d] = v * beta * si;
                di[d] = v * beta * x[d] * si * (1 - si);
                dr[d] = du * rate[c] * sr * (1 - sr);
                drate[n * D + c] += du * sr;
                carry[c] = a * v;
            }
        }
    }
}
"""
case = Case(operator="bdlru", batch=32, time=100, channels=64)
leaves, _ = inputs(case)
truth = oracle(case, leaves, None)
times[COPY] = copy_program(minimal_bytes(case), "cpu")
library = compiled(SCAN + FUSED)


class Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, r, i, lam):
        h, rate = torch.empty_like(x), softplus(lam)
        run(library.fused_forward, rate, x, r, i, h)
        ctx.save_for_backward(x, r, i, lam, h)
        return h

    @staticmethod
    def backward(ctx, g):
        x, r, i, lam, h = ctx.saved_tensors
        drate = torch.zeros(x.shape[0], x.shape[2])  # [B, D]
        dx, dr, di = (torch.empty_like(x) for _ in range(3))
        rate = softplus(lam)
        places = [rate, x, r, i, h, g.contiguous(), drate, dx, dr, di]
        run(library.fused_backward, *places)
        return dx, dr, di, drate.sum(0) * torch.sigmoid(lam)


def gates_by_torch(given):
    """The gates as single operations, then the C scan of step 3."""
    u = softplus(given["lam"]) * torch.sigmoid(given["r"])
    b = torch.sqrt(-torch.expm1(-2 * u)) * torch.sigmoid(given["i"]) * given["x"]
    return InC.apply(torch.exp(-u), b)


if library is not None:
    entered("4 gates by torch, scan in C", gates_by_torch)
    entered("4 fused in C", lambda given: Fused.apply(*(given[name] for name in ("x", "r", "i", "lam"))))

# %% [markdown]
# ## 5. The same on a GPU
#
# In Triton a *program* takes one sequence and a block of channels, and goes through time. Thousands of programs run at
# once, so a GPU is busy although each is a plain loop. `tl.range(..., num_stages=8)` asks the compiler to start the
# loads of later steps early: otherwise each step would wait for the memory once.
#
# Triton's interpreter runs the kernel here, without a GPU: slow, but the same code and nearly the same bits.

# %%
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None
    print("Triton is not installed here (it is for Linux); this step is left out.")

if triton is not None:

    @triton.jit
    def scan_kernel(a, b, h, T, D: tl.constexpr, BLOCK: tl.constexpr):
        d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        row = tl.program_id(0).to(tl.int64) * T
        state = tl.zeros([BLOCK], tl.float32)
        for t in tl.range(0, T, num_stages=8):
            at = (row + t) * D + d
            decay = tl.load(a + at, mask=d < D, other=0.0).to(tl.float32)
            state = decay * state + tl.load(b + at, mask=d < D, other=0.0).to(tl.float32)
            tl.store(h + at, state, mask=d < D)

    small = Case(operator="linear", batch=2, time=20, channels=40, direction="forward")
    given, _ = inputs(small)
    a, b = given["a"].detach(), given["b"].detach()
    h = torch.full_like(b, float("nan"))  # what the kernel forgets to write would be seen
    scan_kernel[(small.batch, triton.cdiv(small.channels, 32))](a, b, h, small.time, D=small.channels, BLOCK=32)
    found = check({"out": h}, oracle(small, given, None), 2e-6, "the Triton kernel")
    print(f"5 Triton, interpreted: error {found['out']:.0e}")

# %% [markdown]
# ## The race
#
# All that take the gates along, in turns on the same inputs, beside what `lrscan` ships. Figures of a small size on one
# thread: `cd kernels && python -m bench` is the real race, and the app's page *Kernel live* runs any shape.

# %%
from lrscan import gated_scan, use_backend
from lrscan.dispatch import backends


def shipped(name):
    def scan(given):
        with use_backend(name):
            return gated_scan(given["x"], given["r"], given["i"], given["lam"])

    return scan


for backend in ("torch", "native"):
    if backends()[backend] is None:
        entered(f"lrscan {backend}", shipped(backend))
racing = [name for name in times if name == COPY or name.startswith(("4", "lrscan"))]
race = interleaved({name: times[name] for name in racing}, repeats=20, seconds=1.5)
print(f"\n{'':28} median ms   times a copy")
for name in sorted(race, key=lambda one: race[one].median_ms):
    print(f"{name:28} {race[name].median_ms:9.2f}   {race[name].to_copy:12.1f}")
assert all(error < 2e-6 for error in errors.values())
