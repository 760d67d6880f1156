"""How long a reader waits. Every figure is printed beside its goal; only a wait far beyond it fails.

How fast a machine is differs by more than a goal may be missed by, so the figures are for reading, and the tests catch
what has become several times slower.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_app import real_data, serve, settle

from recblr.runs import SAMPLE_ROOT

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
Record = Callable[[str, object], None]

WARM_RENDER_SECONDS = 1.5
CHANGE_SECONDS = 0.4
STEP_SECONDS = 0.4
SHELL_SECONDS = 2.0
FIRST_PAGE_SECONDS = 6.0
REPEATS = 5
FAR = 4

CHANGED = """
async ({button, subject}) => {
  const inside = (key) => [...document.querySelectorAll(`.st-key-${key} *`)].find((one) => one.shadowRoot)?.shadowRoot;
  const frame = () => inside('heatmap')?.querySelector('.frame');
  const app = document.querySelector('[data-testid=stApp]');
  const before = frame().dataset[subject];
  const buttons = [...document.querySelectorAll('button'), ...inside('strip').querySelectorAll('button')];
  const start = performance.now();
  buttons.find((one) => one.innerText.includes(button)).click();
  while (frame()?.dataset[subject] === before || app.dataset.testScriptState !== 'notRunning') {
    await new Promise((done) => setTimeout(done, 10)); // to wait for frames would have the browser draw them
    if (performance.now() - start > 60000) throw new Error('nothing changed');
  }
  return (performance.now() - start) / 1000;
}
"""


def crowding() -> float:
    """How much longer than alone a computation takes now: 1 on a quiet machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.15:
        pass
    return max(1.0, (time.perf_counter() - wall) / (time.process_time() - cpu))


def held(record: Record, what: str, seconds: list[float], limit: float, crowd: float) -> None:
    """Record the median and the spread, and hold the limit to it; `crowd` is from before, and measured again now."""
    crowd = max(crowd, crowding())
    median = statistics.median(seconds)
    spread = f" ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} times)" if len(seconds) > 1 else ""
    record(what, f"{median:.2f} s{spread}, goal {limit} s, machine {crowd:.1f} times as busy as alone")
    assert median < FAR * limit * crowd**2, f"{what}: {median:.2f} s"  # server and browser both wait for their turn


def seconds_to(page: Any, address: str) -> float:
    """From the request to a heat map that stands."""
    start = time.perf_counter()
    page.goto(address)
    page.locator(".st-key-heatmap .frame[data-subject]").wait_for()
    settle(page)
    return time.perf_counter() - start


def warm_renders(chromium: Any, address: str) -> list[float]:
    """The page in a fresh session of a browser that has the app's files, on a server that has the run and the log."""
    context = chromium.new_context(viewport={"width": 1300, "height": 1000}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(120_000)
    seconds_to(page, address)
    taken = [seconds_to(page, address) for _ in range(REPEATS)]
    context.close()
    return taken


def test_the_sample_run_opens_and_follows_at_once(
    visit: Visit, chromium: Any, server: str, record_property: Record
) -> None:
    crowd = crowding()
    address = f"{server}/trace?run=mixed/recblr&user=u0002"
    held(record_property, "warm first render", warm_renders(chromium, address), WARM_RENDER_SECONDS, crowd)
    page = visit("/trace?run=mixed/recblr&user=u0002&step=30")
    page.locator(".st-key-heatmap .frame[data-subject]").wait_for()
    step = [page.evaluate(CHANGED, {"button": "◀", "subject": "step"}) for _ in range(REPEATS)]
    held(record_property, "step", step, STEP_SECONDS, crowd)
    user = [page.evaluate(CHANGED, {"button": "Random user", "subject": "subject"}) for _ in range(REPEATS)]
    held(record_property, "change of user", user, CHANGE_SECONDS, crowd)


def test_the_first_page_ever_shows_its_text_before_torch_is_there(
    chromium: Any, tmp_path: Path, record_property: Record
) -> None:
    crowd = crowding()
    for address in serve(tmp_path, {}):
        page = chromium.new_page()
        page.set_default_timeout(120_000)
        start = time.perf_counter()
        page.goto(f"{address}/trace?run=mixed/recblr&user=u0002")
        page.get_by_role("heading", level=2).wait_for()
        held(record_property, "shell and text", [time.perf_counter() - start], SHELL_SECONDS, crowd)
        page.locator(".st-key-heatmap .frame[data-subject]").wait_for()
        held(record_property, "first page ever", [time.perf_counter() - start], FIRST_PAGE_SECONDS, crowd)
        page.close()


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = real_data("ml-1m")
    if not (SAMPLE_ROOT / "ml-1m/recblr/model.safetensors").is_file():
        pytest.skip("NO RUN OF ML-1M: the app was not timed on 6,040 users")
    yield from serve(tmp_path_factory.mktemp("real"), {"RECBLR_DATA": str(root)})


@pytest.mark.real_data
def test_the_run_of_movielens_opens_on_all_its_users_and_follows_at_once(
    chromium: Any, real_server: str, record_property: Record
) -> None:
    crowd = crowding()
    address = f"{real_server}/trace?run=ml-1m/recblr"
    held(record_property, "warm first render, 6,040 users", warm_renders(chromium, address), WARM_RENDER_SECONDS, crowd)
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    seconds_to(page, address)
    assert page.get_by_text("one of 6,040").count() == 1
    user = [page.evaluate(CHANGED, {"button": "Random user", "subject": "subject"}) for _ in range(2 * REPEATS)]
    held(record_property, "change of user, 6,040 users", user, CHANGE_SECONDS, crowd)
    page.close()
