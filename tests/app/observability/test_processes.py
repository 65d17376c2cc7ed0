"""Names of processes, which no later process gets."""

import os
import shutil
import subprocess

from app.observability.processes import identify, is_process_name, is_running


def test_a_process_is_running_until_it_has_ended():
    process = subprocess.Popen(["sleep", "600"])
    name = identify(process.pid)

    assert is_process_name(name)
    assert is_running(name)
    process.kill()
    process.wait()
    assert not is_running(name)


def test_another_process_that_got_the_pid_has_another_name():
    assert is_running(identify(os.getpid()))
    assert not is_running(f"{os.getpid()}-1")


def test_a_program_may_have_any_name(tmp_path):
    program = tmp_path / "a) 1 2 (b"
    shutil.copy(shutil.which("sleep"), program)
    process = subprocess.Popen([program, "600"])

    started = identify(process.pid).partition("-")[2]
    process.kill()
    process.wait()

    assert abs(int(started) - int(identify(os.getpid()).partition("-")[2])) < 1_000_000
    assert len(started) > 1


def test_where_nothing_tells_the_start_the_pid_is_the_name():
    process = subprocess.Popen(["sleep", "600"])

    assert is_running(str(process.pid))
    process.kill()
    process.wait()
    assert not is_running(str(process.pid))
    assert is_running("1")  # another user's, perhaps
    assert not is_running("99999999999999999999")
