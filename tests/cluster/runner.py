"""Runs the scenarios: one line each with the reason of a failure, then all figures, and the count."""
import sys
import time
import traceback

import rounds
import scenarios
from tools import choose, sentence
from world import World


def main():
    chosen, asked = choose("Three nodes as one, while nodes die and links are cut.", scenarios.ALL)
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
