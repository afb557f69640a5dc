"""Runs the scenarios: one line each, the reason of a failure with the end of every log, and the count."""
import sys
import time
import traceback

import scenarios
from tools import Skip, choose, sentence
from world import World


def main():
    chosen, asked = choose("Postroad against real peers.", scenarios.ALL)

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
