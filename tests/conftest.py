"""What every test shares: one thread a worker, examples that never change, and measured figures printed at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

# Two busy threads on two cores are ten times slower than one each, so a worker of many takes one thread.
# The variables reach what a test starts; they are read when torch is imported, which is why they stand first.
ONE_OF_MANY = "PYTEST_XDIST_WORKER" in os.environ
if ONE_OF_MANY:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that changes torch's threads must not change them for the next one; torch is not imported for this."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = 1 if ONE_OF_MANY else torch.get_num_threads()
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured with pytest's own `record_property(name, value)`."""
    measured = [
        (report.nodeid, name, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if measured:
        terminalreporter.section("measured")
        for nodeid, name, value in measured:
            terminalreporter.write_line(f"{nodeid.rpartition('::')[2]}: {name} = {value}")
