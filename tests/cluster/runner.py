"""Runs the scenarios: one line each with the reason of a failure, then all figures, and the count."""
import argparse
import sys
import time
import traceback

import rounds
import scenarios
from world import World


def sentence(function):
    return function.__name__.replace("_", " ")


def main():
    arguments = argparse.ArgumentParser(prog="run", description="Three nodes as one, while nodes die and links are cut.")
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
    print(f"seed {rounds.SEED}", flush=True)
    with World(keep=asked.keep) as world:
        figures, failed = play(world, chosen)
    print("\n".join(figures))
    for name in failed:
        print(f"failed: {name}")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def play(world, chosen):
    figures, failed = [], []
    for scenario in chosen:
        begun = time.monotonic()
        try:
            figures += scenario(world)
            verdict, reason = "ok", ""
        except Exception:  # whatever went wrong is this scenario's failure, and the next one runs
            verdict, reason = "FAIL", "\n" + traceback.format_exc()
            failed.append(sentence(scenario))
        print(f"{verdict:4} {time.monotonic() - begun:6.1f} s  {sentence(scenario)}{reason}", flush=True)
    return figures, failed


if __name__ == "__main__":
    sys.exit(main())
