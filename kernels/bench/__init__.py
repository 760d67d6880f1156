"""The scans beside every other way to compute them, in one run: ``cd kernels && python -m bench --set cpu``.

    python -m bench --set gpu --json        on a machine with a CUDA device; writes results/gpu-<device>.json
    python -m bench --quick                 small sizes, seconds: whether all peers run and agree

All programs of a case take turns call by call with a copy of as many bytes. Every row holds the error against float64
and the peak memory, or the reason for which it holds no time. The record, with device, versions, commit and date, is
what the app shows as recorded.
"""
