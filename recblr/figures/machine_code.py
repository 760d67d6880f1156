"""A compiled kernel as text to read: its loads, stores and arithmetic marked, and the loop over time cut out."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

MARKS = {
    "asynchronous load": "⇣ ",
    "load": "↓ ",
    "store": "↑ ",
    "spill": "! ",
    "arithmetic instruction": "· ",
    "": "  ",
}
"""What stands before a line of each kind, so that colour is not needed to tell them apart."""

_KINDS = (
    ("asynchronous load", re.compile(r"\bLDGSTS\b|\bUTMALDG\b|\bcp\.async\.c[ag]\b|\bcp\.async\.bulk\b")),
    ("load", re.compile(r"\bLDG\b|\bld\.global\b")),
    ("store", re.compile(r"\bSTG\b|\bst\.global\b")),
    ("spill", re.compile(r"\b(?:LDL|STL)\b|\b(?:ld|st)\.local\b")),
    (
        "arithmetic instruction",
        re.compile(r"\b(?:FFMA|FMUL|FADD|MUFU|HFMA2|HMMA|DFMA)\b|\b(?:fma|mul|add|ex2)(?:\.\w+)*\.f(?:16|32|64)"),
    ),
)
_ADDRESS = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(.*?;)")
_BRANCH = re.compile(r"\bBRA\S*\s+(?:\S+,\s*)?(?:`\(\S+\)|0x([0-9a-f]+))")


class Line(NamedTuple):
    """One line of code."""

    kind: str
    """A key of MARKS."""
    text: str
    address: int | None
    """Of an instruction in machine code."""


def lines(code: str) -> list[Line]:
    """PTX or SASS, the encodings of SASS left out."""
    found = []
    for raw in code.splitlines():
        instruction = _ADDRESS.search(raw)
        if instruction is None and "/*" in raw and "*/" in raw and ";" not in raw:
            continue  # the second half of an encoding
        text = instruction.group(2) if instruction else raw.rstrip()
        address = int(instruction.group(1), 16) if instruction else None
        if text.strip():
            kind = next((name for name, pattern in _KINDS if pattern.search(text)), "")
            found.append(Line(kind, text, address))
    return found


def main_loop(found: Sequence[Line]) -> list[Line]:
    """The loop of SASS that loads and has the most instructions: what runs once an event; empty where there is none."""
    loops: list[list[Line]] = []
    for n, line in enumerate(found):
        target = _BRANCH.search(line.text)
        if line.address is None or target is None or target.group(1) is None:
            continue
        start = int(target.group(1), 16)
        body = [one for one in found[: n + 1] if one.address is not None and one.address >= start]
        if start < line.address and any("load" in one.kind for one in body):
            loops.append(body)
    return max(loops, key=lambda loop: len(loop), default=[])


def counted(found: Sequence[Line]) -> str:
    """How many of each kind, in words."""
    counts = Counter(line.kind for line in found if line.kind)
    named = [f"{counts[kind]} {kind}" + ("" if counts[kind] == 1 else "s") for kind in MARKS if counts[kind]]
    return ", ".join(named) or "no loads, stores or arithmetic"


def as_html(found: Sequence[Line], *, label: str) -> str:
    """The lines in a box that scrolls and that the keyboard reaches; marks in front, colours behind."""
    classes = {"asynchronous load": "async", "load": "load", "store": "store", "spill": "spill"}
    rows = "".join(
        f'<span class="{classes.get(line.kind, "other")}">{MARKS[line.kind]}{html.escape(line.text)}</span>'
        for line in found
    )
    return (
        "<style>.machine-code { max-height: 26rem; overflow: auto; font-size: 0.8rem; line-height: 1.35; margin: 0;"
        " padding: 0.5rem; border: 1px solid rgba(138, 143, 152, 0.4); border-radius: 0.4rem; }"
        ".machine-code span { display: block; width: max-content; min-width: 100%; white-space: pre; }"
        ".machine-code .async { background: rgba(47, 127, 214, 0.30); } .machine-code .load"
        " { background: rgba(47, 127, 214, 0.18); } .machine-code .store { background: rgba(42, 157, 92, 0.25); }"
        " .machine-code .spill { background: rgba(214, 69, 61, 0.35); }</style>"
        f'<pre class="machine-code" tabindex="0" role="region" aria-label="{html.escape(label)}">{rows}</pre>'
    )
