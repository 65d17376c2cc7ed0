"""Logs into a pipe that nothing reads: no line is waited for, and those lost are counted."""

import json
import os
import subprocess
import sys

import pytest

# Logs as many lines, of as many bytes, as each line of standard input says.
PROGRAM = """
import logging, sys
from app.observability import logging as logs
from app.settings import Settings
logs.configure(Settings(users_database_url="", posts_database_url="", redis_url="", broker_url="", log_format="json"))
for line in sys.stdin:
    number, size = map(int, line.split())
    for _ in range(number):
        logging.info("x" * size)
    print(number, flush=True)
"""


# Logs 64 lines at once, a thousand times; then one line, which says how many were lost, until it fits.
BATCHES = """
import logging, time
from app.observability import logging as logs
from app.observability.output import Lines
from app.settings import Settings
logs.configure(Settings(users_database_url="", posts_database_url="", redis_url="", broker_url="", log_format="json"))
[handler] = logging.getLogger().handlers
def records():
    return [logging.LogRecord("many", logging.INFO, "", 0, "x" * 200, (), None) for _ in range(64)]
for _ in range(1000):
    handler.handle(Lines("many", records()))
while handler._lost or handler._rest:
    time.sleep(0.01)
    handler._rest = handler._rest[handler._write(handler._rest):]
    if handler._lost and handler._send(handler._line(handler._loss())):
        handler._lost = 0
"""


class Program:
    """Start a program with a pipe as standard error."""

    def __init__(self):
        self._ours, theirs = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)

    def log(self, number, size=100):
        self._process.stdin.write(f"{number} {size}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{number}\n"

    def read(self):
        """The messages that lie there, complete lines or not."""
        os.set_blocking(self._ours, False)
        parts = []
        while True:
            try:
                part = os.read(self._ours, 2**20)
            except BlockingIOError:
                part = b""
            if not part:
                return b"".join(parts)
            parts.append(part)

    def stop_reading(self):
        os.close(self._ours)

    def end(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@pytest.fixture
def program():
    program = Program()
    yield program
    program.end()


def messages(text):
    return [json.loads(line)["message"] for line in text.decode().splitlines()]


def test_lines_that_are_read_all_arrive(program):
    program.log(1000)

    assert messages(program.read()) == ["x" * 100] * 1000


def test_lines_that_nothing_reads_are_lost_and_counted(program):
    program.log(20_000)

    arrived = messages(program.read())
    program.log(1)

    assert 500 < len(arrived) < 20_000
    assert messages(program.read()) == [
        f"{20_000 - len(arrived)} log lines were dropped: the reader stalled",
        "x" * 100,
    ]


def test_long_lines_arrive_whole_or_not_at_all(program):
    text = b""

    for _ in range(20):
        program.log(30, 100_000)
        text += program.read()
    program.log(1)
    text += program.read()

    arrived = messages(text)
    assert {message for message in arrived if "dropped" not in message} == {"x" * 100_000, "x" * 100}
    assert any("dropped" in message for message in arrived)


def test_a_reader_that_has_ended_is_done_without(program):
    program.log(1)
    program.stop_reading()

    program.log(1000)


def test_lines_that_are_written_together_are_whole_beside_those_of_another_process():
    """Two processes write into one pipe that is always nearly full."""
    ours, theirs = os.pipe()
    program = [sys.executable, "-c", BATCHES]
    writers = [subprocess.Popen(program, stderr=theirs, stdout=subprocess.DEVNULL) for _ in range(2)]
    os.close(theirs)
    text = b""
    while part := os.read(ours, 5_000):
        text += part
    for writer in writers:
        assert writer.wait(30) == 0
    os.close(ours)

    lines = [json.loads(line)["message"] for line in text.splitlines()]
    lost = sum(int(line.split()[0]) for line in lines if line.endswith("stalled"))
    assert 0 < lost < 2 * 64 * 1_000
    assert all(line == "x" * 200 or line.endswith("stalled") for line in lines)
    assert lines.count("x" * 200) + lost == 2 * 64 * 1_000
