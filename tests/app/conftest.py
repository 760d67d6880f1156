"""The app under test: run in the process by AppTest, or as a server with Chromium in front of it.

The runs are the shipped ones, and a folder of further ones in every state that a reader's own could be in.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import recblr
from recblr.backbones import backbone, make_config
from recblr.data import open_log
from recblr.data.log import Catalog, InteractionLog
from recblr.runs import SAMPLE_ROOT

HERE = Path(__file__).parent
APP = HERE.parents[1] / "app"
sys.path[:0] = [str(APP), str(HERE)]  # as `streamlit run app/main.py` does; and what the tests of the app share

from cache import sources  # noqa: E402
from tests_app import serve, settle  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
]
WAIT_MS = 60_000


@pytest.fixture(scope="session")
def sample_log() -> InteractionLog:
    return open_log(SAMPLE_ROOT.parent / "mixed")[0]


@pytest.fixture(scope="session")
def more_runs(tmp_path_factory: pytest.TempPathFactory, sample_log: InteractionLog) -> Path:
    """A folder of runs: one whose log is not here, one that is broken, one of items that the log does not have."""
    root = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    small = Catalog(
        ids=np.array(["", "a", "b", "c", "d"]),
        titles=np.array(["", "Apple", "Bread & <b>butter</b>", "*Cake*", "Dill"]),
    )
    write_run(root / "elsewhere/recblr", "recblr", small, "a-log-that-is-not-here")
    write_run(root / "elsewhere/foreign", "lrurec", small, sample_log.name)
    write_run(root / "broken/truncated", "sasrec", small, "a-log-that-is-not-here")
    weights = root / "broken/truncated/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (root / "broken/no-config").mkdir()
    (root / "broken/no-config/model.safetensors").write_bytes(b"")
    return root


def write_run(folder: Path, name: str, catalog: Catalog, log: str, **fields: Any) -> None:
    """An untrained run."""
    cls = backbone(name)
    model = cls(make_config(cls, n_items=catalog.n_items, **{"max_len": 12, "d": 8, **fields})).eval()
    data = {"name": log, "fingerprint": "0" * 12, "n_users": 1, "n_events": 1}
    recblr.save_run(folder, model, catalog, train={}, data=data, metrics={})


@pytest.fixture
def app(more_runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AppTest]:
    """app(page, **parameters) -> the page as it stands after its first run."""
    monkeypatch.setenv("RECBLR_RUNS", str(more_runs))
    monkeypatch.setenv("RECBLR_LOG", str(tmp_path / "app.log"))
    sources.runs.clear()  # the rest is kept by fingerprints, so one test cannot show another its own

    def opened(page: str = "start", **parameters: str | list[str]) -> AppTest:
        at = AppTest.from_file(str(APP / "main.py"), default_timeout=60)
        for key, value in parameters.items():
            at.query_params[key] = value
        return at.switch_page(f"app_pages/{page}.py").run() if page != "start" else at.run()

    return opened


@pytest.fixture(scope="session")
def server(more_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the app, started as a reader starts it, from a folder that is not the project's."""
    yield from serve(tmp_path_factory.mktemp("server"), {"RECBLR_RUNS": str(more_runs)})


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: the app was not looked at in a browser; install chromium (apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, server: str) -> Iterator[Callable[..., Any]]:
    """visit(path, width=, scheme=) -> a page that stands still; whatever goes wrong on it fails the test at its end."""
    opened: list[Any] = []
    wrong: list[str] = []

    def go(path: str, *, width: int = 1300, height: int = 1000, scheme: str = "light", address: str = server) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        watch(page, wrong)
        page.goto(address + path)
        settle(page)
        return page

    yield go
    for context in opened:
        for page in context.pages:
            wrong += ["a traceback is shown"] * page.get_by_test_id("stException").count()
        context.close()
    assert not wrong, "\n".join(wrong)


def watch(page: Any, wrong: list[str]) -> None:
    """Note errors in the console, scripts that fail, and requests to other hosts."""

    def answered(response: Any) -> None:
        # On a page below the root Streamlit first asks for its own end points below that page, and expects a 404.
        if response.status >= 400 and "/_stcore/" not in response.url:
            wrong.append(f"{response.status} for {response.url}")

    def asked(request: Any) -> None:
        if urlparse(request.url).hostname not in {"127.0.0.1", None}:
            wrong.append(f"a request to another host: {request.url}")

    def spoke(message: Any) -> None:
        if message.type == "error" and "404 (Not Found)" not in message.text:
            wrong.append(f"console: {message.text}")

    page.on("response", answered)
    page.on("request", asked)
    page.on("console", spoke)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
