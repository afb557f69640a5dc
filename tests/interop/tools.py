"""Commands and bounded waits."""
import socket
import subprocess
import time


class Skip(Exception):
    """This machine lacks what a scenario needs."""


def until(predicate, seconds, what):
    """The first true value of the predicate; an AssertionError that says what was awaited when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def answers(address, port):
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def run(*command, **options):
    """A command's standard output; its whole output is in the error when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, timeout=300, **options)
    if done.returncode:
        talk = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
        raise AssertionError(f"{' '.join(map(str, command))} exited {done.returncode}: {talk}")
    return done.stdout
