"""The Triton backend: its kernels in the interpreter and on a GPU (each in its own process), and how it is found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

KERNELS = Path(__file__).with_name("kernels_match_the_oracle.py")
ROOT = Path(__file__).parents[3]


def run_kernels(**environment):
    """The last lines of a run of KERNELS; its failures, in full, are the message of this one."""
    pytest.importorskip("triton", reason="THE TRITON KERNELS ARE NOT TESTED: the package triton is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    done = subprocess.run(
        [*command, str(KERNELS)], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_every_kernel_agrees_with_the_oracle_in_the_interpreter(record_property):
    record_property("kernels", run_kernels(TRITON_INTERPRET="1", OMP_NUM_THREADS="1"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="THE KERNELS ARE NOT TESTED ON A GPU: there is none here")
def test_every_kernel_agrees_with_the_oracle_on_a_gpu(record_property):
    record_property("kernels", run_kernels(LRSCAN_KERNELS_ON="cuda"))


def in_a_new_process(code, **environment):
    clean = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_lrscan_does_not_import_triton():
    assert in_a_new_process("import sys, lrscan; lrscan.backends(); print('triton' in sys.modules)") == "False"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_the_backends_say_why_they_cannot_be_used():
    code = "import lrscan; found = lrscan.backends(); print(found['triton'], found['triton-interpret'], sep='\\n')"
    compiled, interpreted = in_a_new_process(code).splitlines()
    assert "CUDA" in compiled or "pip install triton" in compiled
    assert "TRITON_INTERPRET=1" in interpreted or "pip install triton" in interpreted
    pytest.importorskip("triton")
    assert in_a_new_process(code, TRITON_INTERPRET="1").splitlines()[1] == "None"
