"""Kernel live: how fast the scan is, and whether it is right, measured here and now or as recorded."""

import uuid

import choices
import links
import pandas as pd
import streamlit as st
from cache import records
from components.copy_link import copy_link
from draw import heading, numbers, page_title, plain, show
from guard import guard
from live import BACKENDS, INTERPRETER, Facts, Request, Run, asked, why_not
from pages import PAGES

from recblr.figures import machine_code
from recblr.figures.roofline import roofline
from recblr.figures.scaling import scaling
from recblr.figures.speeds import speeds

NAMES = {  # as the reader chooses an operator: its name in lrscan
    "BD-LRU": "bdlru",
    "linear": "linear",
    "RG-LRU": "rglru",
    "minGRU": "mingru",
    "HGRN": "hgrn",
    "LRU": "complex",
    "SSD": "ssd",
    "Mamba": "selective",
    "delta rule": "delta",
}
MEANINGS = {
    "BD-LRU": "The recurrence of RecBLR, with its gates.",
    "linear": "h = a h + b, with a and b given.",
    "RG-LRU": "The recurrence of Griffin, with its gates.",
    "minGRU": "A GRU whose gate does not depend on the state, with that gate.",
    "HGRN": "A gated recurrence with a lower bound on what is kept.",
    "LRU": "The recurrence of LRURec: complex, and the same at every event.",
    "SSD": "The recurrence of Mamba-2 and TiM4Rec: one decay a head of 32 channels, 16 states each.",
    "Mamba": "The selective scan of Mamba: 16 states a channel.",
    "delta rule": "Gated DeltaNet's table, which erases before it writes: a head of 32 channels, keys of 16 numbers.",
}
DIRECTIONS = {"forward+backward": "both", "forward": "forward", "backward": "backward"}
ARCHITECTURES = {
    "sm_90 (H100, H200)": 90,
    "sm_80 (A100)": 80,
    "sm_86 (RTX 30)": 86,
    "sm_89 (RTX 40)": 89,
    "sm_100 (B200)": 100,
}
POLL_SECONDS = 0.5


def owner() -> str:
    return str(st.session_state.setdefault("_kernel_owner", uuid.uuid4().hex))


def request_of(facts: Facts) -> Request:
    """The controls, and the run that they ask for."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = choices.one_of("Operator", list(NAMES), key="operator")
        direction = DIRECTIONS[choices.one_of("Direction", list(DIRECTIONS), key="direction")]
        types = ["float32"] if name == "LRU" else ["float32", "bfloat16"]
        dtype = choices.one_of("Type", types, key="type")
        device = "cpu"
        if facts.gpu is not None:
            device = "cuda" if choices.one_of("Device", ["GPU", "CPU"], key="device") == "GPU" else "cpu"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sizes = {
            "batch": choices.number("B, sequences", 1, 4096, 64, key="B"),
            "time": choices.number("T, events each", 1, 4096, 200, key="T"),
            "channels": choices.number("D, channels", 1, 1024, 128, key="D"),
        }
    offered = [*BACKENDS[device], *([INTERPRETER] if device == "cpu" and facts.interpreter else [])]
    backends = choices.several("Backends", offered, offered[:2], key="backends")
    without = (
        "" if facts.gpu else f" No GPU here: {INTERPRETER} runs the GPU's kernels step by step, slowly, on the CPU."
    )
    st.caption(plain(MEANINGS[name] + (without if facts.interpreter else "")))
    case = {"operator": NAMES[name], **sizes, "dtype": dtype, "direction": direction}
    return {"job": "shape", "case": case, "backends": backends, "device": device}


def start(request: Request) -> None:
    """Callback of a button that measures."""
    with guard():
        records.kernel_runs().start(request, owner())


def run_button(label: str, request: Request, *, key: str) -> None:
    """Starts a run, or says why it may not start."""
    runs = records.kernel_runs()
    refused = why_not(request)
    busy = runs.current is not None and runs.current.under_way
    st.button(
        label,
        key=key,
        type="primary",
        icon=":material/play_arrow:",
        disabled=busy or refused is not None,
        on_click=start,
        args=(request,),
    )
    if refused is not None:
        st.warning(plain(refused))


def progress() -> None:
    """What the run under way is doing; drawn again until it ends, then the page is."""
    run = records.kernel_runs().current
    if run is None or not run.under_way:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        own = run.owner == owner()
        who = "Measuring" if own else "Another reader is measuring; one at a time"
        st.markdown(plain(f"{who}: {run.said} {run.seconds:.0f} s, at most {run.request['seconds']} s."))
        if own:
            st.button("Cancel", key="cancel", on_click=records.kernel_runs().cancel, args=(owner(),))


def watch() -> None:
    """The progress of a run under way, or how the last one of this reader ended badly."""
    run = records.kernel_runs().current
    if run is None:
        return
    if run.under_way:
        st.fragment(progress, run_every=POLL_SECONDS)()
    elif run.owner == owner() and run.cancelled:
        st.info(f"Cancelled after {run.seconds:.0f} s. What was measured before stays below.")
    elif run.owner == owner() and run.failed:
        st.error(plain(f"The measurement failed: {run.failed}"))


def of_case(request: Request) -> str:
    """A case in words."""
    case = request["case"]
    name = next(name for name, inner in NAMES.items() if inner == case["operator"])
    direction = next(name for name, inner in DIRECTIONS.items() if inner == case["direction"])
    return f"{name} {direction}, {case['dtype']}, B = {case['batch']}, T = {case['time']}, D = {case['channels']}"


def stale(run: Run, request: Request) -> None:
    """Says of whose numbers these are, where the controls say something else by now."""
    words = f"Measured on this machine, {run.request['device'].upper()}, one thread: {of_case(run.request)}"
    changed = asked(run.request) != asked(request)
    st.caption(plain(words + (". The controls have changed since: run again for theirs." if changed else ".")))


def this_shape(request: Request) -> None:
    """The last result, and the roofline."""
    run = records.kernel_runs().latest("shape", owner(), request)
    if run is None:
        st.info(
            "Nothing was measured yet. **Run** checks each backend against float64, then times it in turns with a copy "
            "of as many bytes: a few seconds, and some more the first time, when the native backend is compiled. A "
            "result that is wrong gets no time."
        )
        return
    stale(run, request)
    code = links.kernel_code(run.request)
    show(speeds(run.rows), key="speeds", code=code)
    if run.ceiling is not None:
        show(roofline(run.rows, run.ceiling), key="roofline", code=code)


def curves(request: Request) -> None:
    """Time against T or B, of every peer that is installed."""
    along = choices.one_of("Along", ["time", "batch"], key="along")
    asks = {"job": "curves", "case": request["case"], "along": along, "device": request["device"]}
    run_button("Measure the curves", asks, key="run_curves")
    run = records.kernel_runs().latest("curves", owner(), asks)
    if run is None:
        st.info("Times every program that is installed here along one size, errors checked at each point: about 30 s.")
        return
    stale(run, asks)
    if run.request["along"] != along:
        return
    show(scaling(run.rows, along), key="scaling", code=links.curves_code(run.request))


def machine(request: Request) -> None:
    """PTX and SASS of the compiled kernel."""
    case = request["case"]
    heading(
        "What does the GPU run?", "The kernel of the chosen operator and type, compiled here; no GPU is needed for it."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        arch = ARCHITECTURES[choices.one_of("Compiled for", list(ARCHITECTURES), key="arch")]
        language = choices.one_of("Show", ["loop in SASS", "SASS", "PTX"], key="code")
    direction = "backward" if case["direction"] == "backward" else "forward"
    asks = {
        "job": "code",
        "operator": "bdlru" if case["operator"] == "rglru" else case["operator"],
        "direction": direction,
        "dtype": "complex64" if case["operator"] == "complex" else case["dtype"],
        "arch": arch,
    }
    run_button(f"Compile the {direction} kernel", asks, key="run_code")
    run = records.kernel_runs().latest("code", owner(), asks)
    if run is None or run.code is None:
        st.info("Compiling takes a few seconds. Choose Direction = backward above for the backward kernel.")
        return
    made = run.code
    shown = machine_code.lines(made["ptx" if language == "PTX" else "sass"])
    cut = machine_code.main_loop(shown) if language == "loop in SASS" else shown
    words = f"{made['operator']} {made['direction']}, {made['dtype']}, sm_{made['arch']}"
    st.markdown(
        plain(
            f"{words}: {made['registers']} registers a thread, {made['spills']} spills, {made['shared']:,} bytes of "
            f"shared memory, {made['vector_loads']} wide and {made['async_loads']} asynchronous loads. Shown: "
            f"{machine_code.counted(cut)}."
        )
    )
    st.caption("⇣ a load that runs ahead into shared memory, ↓ a load, ↑ a store, ! a spilled register, · arithmetic")
    st.html(machine_code.as_html(cut or shown, label=f"Machine code of {words}"))
    facts = {name: value for name, value in made.items() if name not in {"ptx", "sass"}}
    table = pd.DataFrame({"of the kernel": list(facts), "is": [str(value) for value in facts.values()]})
    numbers(table, key="machine", code=links.compiled_code(run.request))


def recorded(request: Request) -> None:
    """Recorded runs of the whole benchmark, with device, date and commit."""
    kept = records.kernel_records()
    heading(
        "What was recorded?",
        "Runs of the whole benchmark on a machine that did nothing else. They are records, not measured now.",
    )
    for kind in ("gpu", "cpu"):
        found = [record for record in kept if record.get("set") == kind]
        if not found:
            st.info(
                f"**{kind.upper()}: not measured.** On a machine with one, `cd kernels && python -m bench --set {kind} "
                "--json` writes the record that is shown here."
            )
        for record in found:
            show_record(record)
    for record in kept:
        if "damaged" in record:
            st.warning(plain(f"The record {record['damaged']} cannot be read; run the benchmark again."))


def show_record(record: dict) -> None:
    """One record: its bars, and all of its rows on request."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    st.markdown(
        f"**Recorded on {plain(record['device'])}**, {plain(record['date'])}, commit `{plain(record['commit'])}`; "
        f"{plain(versions)}"
    )
    bars = [bar for bar in record["bars"] if bar["device"] == record["set"]]
    said = {True: "holds", False: "missed", None: "not measured"}
    table = pd.DataFrame(
        {
            "goal": [bar["goal"] for bar in bars],
            "measured": [bar["measured"] for bar in bars],
            "bar": [f"{'at least' if bar['at_least'] else 'at most'} {bar['bound']:g}" for bar in bars],
            "": [said[bar["holds"]] for bar in bars],
        }
    )
    st.dataframe(table, hide_index=True, alt="The goals, each as measured beside its bar.")
    box = st.expander("All rows", key=f"rows_{record['set']}_{record['device']}", on_change="rerun")
    if box.open:
        rows = pd.DataFrame(record["rows"]).drop(columns=["errors", "what", "operations"], errors="ignore")
        box.dataframe(rows, hide_index=True)


PARTS = {"This shape": this_shape, "Curves": curves, "Compiled kernel": machine, "Recorded": recorded}


def body() -> None:
    st.markdown(
        "A linear recurrence touches each event once, $h_t = a_t h_{t-1} + b_t$, and does next to no arithmetic. "
        "What limits it is the memory: **the best it can be is as fast as a copy of the same bytes.**"
    )
    request = request_of(records.kernel_facts())
    records.kernel_runs().prepare()
    with st.container(horizontal=True, vertical_alignment="center"):
        run_button("Run", request, key="run_shape")
        copy_link({}, key="copy_link")
    with st.container(key="watch"):  # always there, so that nothing below moves when a run starts
        watch()
    name, tab = choices.open_tab(list(PARTS), key="part")
    with tab:
        PARTS[name](request)


page_title(PAGES["kernel"].question)
with guard():
    body()
