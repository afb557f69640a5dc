"""Commands, bounded waits, and which scenarios to run."""
import argparse
import socket
import subprocess
import sys
import time
import traceback


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


def sentence(function):
    return function.__name__.replace("_", " ")


def choose(description, scenarios):
    """The scenarios that the command line asks for, and its options; ends the process where nothing is to be run."""
    arguments = argparse.ArgumentParser(prog="run", description=description)
    arguments.add_argument("-k", metavar="WORDS", default="", help="only scenarios whose sentence has these words")
    arguments.add_argument("--list", action="store_true", help="print the sentences and do nothing")
    arguments.add_argument("--keep", action="store_true", help="leave the temporary folder for inspection")
    asked = arguments.parse_args()
    chosen = [scenario for scenario in scenarios if asked.k in sentence(scenario)]
    if asked.list:
        print("\n".join(map(sentence, chosen)))
        sys.exit(0)
    if not chosen:
        print(f"no scenario has the words {asked.k!r}", file=sys.stderr)
        sys.exit(2)
    return chosen, asked


def play(chosen, world, ends=lambda: ""):
    """Runs them: one line each, the reason of a failure with what `ends` has to say, and the count. The exit status."""
    passed, failed, skipped = 0, [], 0
    for scenario in chosen:
        begun = time.monotonic()
        try:
            told = scenario(world)
            verdict, reason = "ok", f" ({told})" if told else ""
            passed += 1
        except Skip as skip:
            verdict, reason = "skip", f" ({skip})"
            skipped += 1
        except Exception:  # whatever went wrong is this scenario's failure, and the next one runs
            verdict, reason = "FAIL", "\n" + traceback.format_exc() + ends()
            failed.append(sentence(scenario))
        print(f"{verdict:4} {time.monotonic() - begun:6.1f} s  {sentence(scenario)}{reason}", flush=True)
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0
