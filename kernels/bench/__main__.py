"""``python -m bench``: run, print, and on request write a record."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from bench import bars
from bench.memory import keep_pages
from bench.peers.every import PEERS
from bench.record import device_name, record_of, write
from bench.run import rows_of
from bench.sets import cases


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The scans beside every other way.")
    parser.add_argument(
        "--set", choices=("cpu", "gpu"), default="cpu", dest="name", help="which shapes, on which device"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats: whether all peers agree")
    parser.add_argument("--json", action="store_true", help="write the record into bench/results for the app")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (1)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    device = "cpu" if given.name == "cpu" else "cuda"
    keep_pages()
    print(f"{given.name} set on {device_name(device)}, torch {torch.__version__}, threads {torch.get_num_threads()}")
    repeats, seconds = (3, 0.2) if given.quick else (50, 10.0)
    rows: list[dict[str, Any]] = []
    for case in cases(given.name, given.quick):
        ragged = f", {case.fill:.0%} filled" if case.fill < 1 else ""
        shape = f"({case.batch}, {case.time}, {case.channels}){ragged}"
        print(f"\n{case.operator} {case.direction} {case.dtype} {shape}", flush=True)
        found = rows_of(case, PEERS, device=device, repeats=repeats, seconds=seconds, say=_progress)
        for row in found:
            print(line(row), flush=True)
        rows += found
    judged = bars.judge(given.name, rows)
    print("\nWhat must be shown" + (" (of quick sizes nothing is claimed)" if given.quick else ""))
    for bar in judged:
        print(bar_line(bar))
    if given.json and given.quick:
        print("\nA quick run is not recorded.")
    elif given.json:
        print(f"\nWritten: {write(record_of(given.name, device, rows, judged)).name} in bench/results")
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r  {text:<60}", end="\r", file=sys.stderr)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    if row["reason"] is not None:
        return f"  {row['peer']:<36} {row['reason']}"
    error = f"error {row['error']:.0e}" if "error" in row else " " * 11
    peak = row.get("peak_bytes")
    memory = "" if peak is None else f"  peak {peak / 2**20:,.0f} MiB"
    return (
        f"  {row['peer']:<36} {row['median_ms']:9.3f} ms ({row['low_ms']:.3f} to {row['high_ms']:.3f}, "
        f"{row['repeats']} times)  {row['gb_per_second']:8.1f} GB/s  {100 / row['to_copy']:5.0f} % of copy  "
        f"{error}{memory}"
    )


def bar_line(bar: dict[str, Any]) -> str:
    """A bar as text: measured / bar."""
    wanted = f"{'at least' if bar['at_least'] else 'at most'} {bar['bound']:g}"
    if bar["measured"] is None:
        return f"  {bar['device']}  not measured / {wanted:<14} {bar['goal']}"
    held = "holds" if bar["holds"] else "MISSED"
    return f"  {bar['device']}  {bar['measured']:.3g} / {wanted:<14} {held}: {bar['goal']}"


if __name__ == "__main__":
    sys.exit(main())
