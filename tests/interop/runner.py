"""Runs the scenarios: one line each, the reason of a failure with the end of every log, and the count."""
import argparse
import sys
import time
import traceback

import scenarios
from tools import Skip
from world import World


def sentence(function):
    return function.__name__.replace("_", " ")


def main():
    arguments = argparse.ArgumentParser(prog="run", description="Postroad against real peers.")
    arguments.add_argument("-k", metavar="WORDS", default="", help="only scenarios whose sentence has these words")
    arguments.add_argument("--list", action="store_true", help="print the sentences and do nothing")
    arguments.add_argument("--keep", action="store_true", help="leave the temporary folder for inspection")
    asked = arguments.parse_args()

    chosen = [f for f in scenarios.ALL if asked.k in sentence(f)]
    if asked.list:
        print("\n".join(map(sentence, chosen)))
        return 0
    if not chosen:
        print(f"no scenario has the words {asked.k!r}", file=sys.stderr)
        return 2

    passed, failed, skipped = 0, [], 0
    with World(keep=asked.keep) as world:
        for scenario in chosen:
            begun = time.monotonic()
            try:
                scenario(world)
                verdict, reason = "ok", ""
                passed += 1
            except Skip as skip:
                verdict, reason = "skip", f" ({skip})"
                skipped += 1
            except Exception:  # whatever went wrong is this scenario's failure, and the next one runs
                verdict, reason = "FAIL", "\n" + traceback.format_exc() + world.log_ends()
                failed.append(sentence(scenario))
            print(f"{verdict:4} {time.monotonic() - begun:6.1f} s  {sentence(scenario)}{reason}", flush=True)
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
