"""The niceness of workers, in their process and among the sessions of the machine."""

import os
import subprocess
import sys

import pytest

from workers.priority import AUTOGROUP

NICE = 7
SCRIPT = f"""
import os
from workers.priority import AUTOGROUP, lower_priority
lower_priority({NICE})
print(os.nice(0), AUTOGROUP.read_text().split()[-1])
"""

pytestmark = pytest.mark.skipif(not AUTOGROUP.exists(), reason="Linux without autogroups")


def run(*command):
    output = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True).stdout
    return [int(word) for word in output.split()]


def test_a_worker_and_its_session_become_nice():
    assert run(sys.executable, "-c", SCRIPT) == [min(19, os.nice(0) + NICE), NICE]


def test_a_session_that_is_not_the_workers_stays_as_it_is():
    """As that of a terminal in which a shell starts dramatiq, which starts the worker."""
    between = "import subprocess, sys; subprocess.run(sys.argv[1:])"

    nice, of_session = run(sys.executable, "-c", between, sys.executable, "-c", between, sys.executable, "-c", SCRIPT)

    assert nice == min(19, os.nice(0) + NICE)
    assert of_session != NICE
