"""The table as Markdown: a pure function of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recblr.leaderboard.bars import Bar, bars, figure
from recblr.leaderboard.cells import Cell, Track
from recblr.leaderboard.entries import Entry, tables_of
from recblr.leaderboard.published import Number, Published
from recblr.leaderboard.rows import Row

HEADS = (
    "backbone", "preset", "HR@10", "NDCG@10", "95 % of users", "published NDCG@10", "parameters", "s an epoch",
    "ms, whole history", "ms, one step", "bytes of a user",
)  # fmt: skip
_OPENING = """\
# Results

Every backbone on every log, trained alike, beside the published figures. This page is made from
[leaderboard.json](leaderboard.json) by `recblr leaderboard --write`; edit neither by hand. `recblr leaderboard --data
FOLDER` trains what is missing, cell by cell, and can be stopped at any time; `--list` shows what is done.

**The recipe, the same for all:** the defaults of `recblr train`, d = 64, two layers (GRU4Rec one, as published), the
backbone's own dropout (.2, GRU4Rec .3), 24 epochs of AdamW at 3e-3 down a cosine, weight decay .01, steps of about 16
windows, averaged weights. Validation every 4 epochs chooses the weights; the test figures are read once, at the end.
Presets that are not causal train on the last position of every prefix, one sample each: without a GPU they are tabled
on ML-100K alone.

**Dropout was tried once more** for the backbone that missed its bar: on `ml-1m-recbole` LRURec has .1842 on validation
with a dropout of .1 and .1728 (seed 1: .1749) with .2, so its row there is that of .1. With .2 its test figure is .1762
(seed 1: .1756). The other backbones were not tried with .1 and may gain by it too.

**On `ml-100k` the recipe is too short for SASRec:** it has .0378 on validation, and .0599 after 16 epochs of a cosine
over 96. The table keeps to the recipe.

**The columns.** HR@10 and NDCG@10 are on test, the whole catalogue ranked, means over the seeds; the interval is a
bootstrap over users. *s an epoch* leaves the validations out and holds for the machine named below the table. *ms* is
one recommendation for one user, from item ids to the scores of all items, batch 1, in processor time of one thread,
median of 50, after the longest history that the model reads: the whole history read anew, and one event more from the
state kept before it (– where a preset cannot stream). *bytes of a user* is what must be kept to answer after the next
event: a state of fixed size, a cache that grows with the history, or the history itself at 16 bytes an event. † marks
times measured while the machine did other work: they are indicative.
"""


def page(rows: Iterable[Row], published: Published, missing: Sequence[Cell] = ()) -> str:
    """The README of the results; `missing` are cells of the grid that have no row yet."""
    tables = tables_of(rows)
    judged = bars([entry for _, entries in tables for entry in entries], published)
    parts = [_OPENING, _bars(judged)]
    parts += [_table(track, entries, published, missing) for track, entries in tables]
    parts.append(
        "## Beside it\n\n[training_speed.json](training_speed.json): how long a million training targets take, beside "
        "plain re-statements, made by `python -m recblr.training.speed`.\n"
    )
    return "\n".join(parts)


def _bars(judged: Sequence[Bar]) -> str:
    """What must be reached, the missed first."""
    lines = ["## What must be reached, and what is not\n"]
    by = {verdict: [one for one in judged if one.verdict == verdict] for verdict in ("missed", "reached", "open")}
    lines.append(
        f"{len(by['missed'])} missed, {len(by['reached'])} reached, {len(by['open'])} open (not trained yet). "
        "≈ marks a bar that lies within the interval of ours over users: other users might have turned it.\n"
    )
    lines += [_line(("bar", "table", "backbone", "ours", "must reach")), _rule(5)]
    for verdict, word in (("missed", "**missed**"), ("reached", "reached"), ("open", "open")):
        for one in by[verdict]:
            ours = "–" if one.ours is None else figure(one.ours)
            if verdict == "missed" and one.bar is not None and one.ours is not None:
                ours += f" (short by {figure(one.bar - one.ours)})"
            lines.append(_line((word + " ≈" * one.within, f"`{one.track}`", one.backbone, ours, one.what)))
    return "\n".join([*lines, ""])


def _table(track: Track, entries: Sequence[Entry], published: Published, missing: Sequence[Cell]) -> str:
    lines = [f"## `{track.log}`, protocol `{track.protocol}`\n", track.what + "\n"]
    notes: list[str] = []
    if entries:
        lines += [_line(HEADS), _rule(len(HEADS))]
        lines += [_line(_cells(entry, published, notes)) for entry in entries]
        lines += ["", *_about(entries)]
    lines += [f"- {_mark(n)} {note}" for n, note in enumerate(notes, 1)]
    wanting = dict.fromkeys(f"{cell.backbone} {cell.preset}" for cell in missing if cell.track == track.name)
    have = {f"{entry.backbone} {entry.preset}" for entry in entries}
    wanting = {name: None for name in wanting if name not in have}
    if wanting:
        lines.append(f"- Not trained yet: {', '.join(wanting)}.")
    without = [f"{backbone} ({why})" for (log, backbone), why in published.left_out.items() if log == track.log]
    if without:
        lines.append(f"- Left out: {', '.join(without)}.")
    return "\n".join([*lines, ""])


def _cells(entry: Entry, published: Published, notes: list[str]) -> tuple[str, ...]:
    return (
        entry.title,
        entry.preset + ("" if entry.seeds == 1 else f", {entry.seeds} seeds"),
        figure(entry.hr10),
        f"**{figure(entry.ndcg10)}**" + ("" if entry.seeds == 1 else f" ± {figure(entry.spread / 2)}"),
        f"{figure(entry.low)} to {figure(entry.high)}",
        _published(entry, published, notes),
        f"{entry.parameters:,}",
        "–" if entry.epoch_seconds is None else _short(entry.epoch_seconds) + "†" * entry.training_beside,
        _short(entry.whole_ms) + "†" * entry.asking_beside,
        "–" if entry.step_ms is None else _short(entry.step_ms) + "†" * entry.asking_beside,
        f"{entry.state_bytes:,} ({entry.state_kind})",
    )


def _published(entry: Entry, published: Published, notes: list[str]) -> str:
    number = published.of(entry.log, entry.protocol, entry.backbone)
    if number is None:
        why = published.none.get(entry.backbone)
        return "–" if why is None or not entry.default else f"– {_noted(why[0].upper() + why[1:] + '.', notes)}"
    mark = _noted(_source(number), notes)
    if not number.same_protocol:
        return f"({figure(number.ndcg10)}) {mark}"
    if not entry.default:
        return f"{figure(number.ndcg10)} {mark}"
    if Bar.reaches(entry.ndcg10, number.ndcg10):
        return f"{figure(number.ndcg10)} {mark} reached"
    return f"{figure(number.ndcg10)} {mark} **missed**"


def _source(number: Number) -> str:
    if number.same_protocol:
        return f"{number.source}."
    return f"{number.source}. Another protocol, for orientation only: {number.differs}."


def _noted(note: str, notes: list[str]) -> str:
    if note not in notes:
        notes.append(note)
    return _mark(notes.index(note) + 1)


def _about(entries: Sequence[Entry]) -> list[str]:
    """Log, seeds and machines of a table."""
    prints = ", ".join(f"`{one}`" for one in dict.fromkeys(entry.fingerprint for entry in entries))
    seeds = {entry.seeds for entry in entries if entry.epoch_seconds is not None}
    said = "one seed" if seeds <= {1} else "the seeds named beside the preset, else one; ± is half the range"
    lines = [f"- Log {prints}; {said}."]
    trained = _by_machine({entry: entry.trained_on for entry in entries if entry.trained_on})
    lines += [f"- Trained on {machine}: {names}." for machine, names in trained.items()]
    lengths = dict.fromkeys(entry.length for entry in entries)
    asked = _by_machine({entry: entry.asked_on for entry in entries})
    where = "; ".join(asked if len(asked) == 1 else (f"{machine}: {names}" for machine, names in asked.items()))
    lines.append(f"- Asked after {' or '.join(f'{length:,}' for length in lengths)} events, on {where}.")
    return lines


def _by_machine(machines: Mapping[Entry, str]) -> dict[str, str]:
    """Machine -> the entries measured on it; "all" where there is one machine."""
    found: dict[str, list[str]] = {}
    for entry, machine in machines.items():
        found.setdefault(machine, []).append(f"{entry.title} {entry.preset}")
    return {machine: "all" if len(found) == 1 else ", ".join(names) for machine, names in found.items()}


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _mark(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return f"|{' --- |' * columns}"
