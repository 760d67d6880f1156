"""What the tests of the app read off a page."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
START_SECONDS = 60


def shown(at: AppTest) -> str:
    """Everything that is said on a page, without the escapes of Markdown."""
    parts = [one.value for kind in (at.header, at.subheader, at.markdown, at.caption, at.info) for one in kind]
    return "\n".join(parts).replace("\\", "")


def told(at: AppTest) -> str:
    """What went wrong, in the page's words."""
    return "\n".join(one.value for kind in (at.error, at.warning) for one in kind).replace("\\", "")


def component(at: AppTest, name: str) -> dict[str, Any]:
    """The data that a component was given."""
    found = [one.proto for one in at.get("bidi_component") if one.proto.component_name.endswith(name)]
    assert len(found) == 1, f"{len(found)} components are called {name}"
    return json.loads(found[0].json)


def figures(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in at.get("plotly_chart")]


def serve(place: Path, variables: dict[str, str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(APP / "main.py"), "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    env = {**os.environ, **variables, "RECBLR_LOG": str(place / "app.log")}
    with (place / "streamlit.log").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=place, env=env)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_healthy(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended by itself"
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as answer:
                if answer.read() == b"ok":
                    return
        except OSError:
            process_wait(process, 0.05)
    pytest.fail(f"the server was not healthy after {START_SECONDS} s")


def process_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait a moment, or less where the process ends."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def settle(page: Any) -> None:
    """Until the script has run and the charts are drawn."""
    page.wait_for_selector('[data-testid="stApp"][data-test-connection-state="CONNECTED"]')
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def real_data(name: str) -> Path:
    """The folder that holds a real log of that name; the test is skipped, loudly, where there is none."""
    root = Path(os.environ.get("RECBLR_REAL_DATA") or APP.parents[1] / "shared/data")
    if not (root / name).exists():
        pytest.skip(f"NO REAL DATA: {name} is not beside the project; name its folder in RECBLR_REAL_DATA")
    return root
