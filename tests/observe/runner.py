"""Runs the checks: one line each, the reason of a failure, and the count."""
import os
import signal
import sys
import time
import traceback

import checks
from tools import Skip, sentence
from world import World


def main():
    # so that an end from outside ends the node and Prometheus too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    passed, failed, skipped = 0, 0, 0
    with World(os.environ) as world:
        for check in checks.ALL:
            begun = time.monotonic()
            try:
                told = check(world)
                verdict, reason = "ok", f" ({told})" if told else ""
                passed += 1
            except Skip as skip:
                verdict, reason = "skip", f" ({skip})"
                skipped += 1
            except AssertionError as error:
                verdict, reason = "FAIL", f"\n{error}"
                failed += 1
            except Exception:  # whatever went wrong is this check's failure, and the next one runs
                verdict, reason = "FAIL", "\n" + traceback.format_exc()
                failed += 1
            print(f"{verdict:4} {time.monotonic() - begun:6.1f} s  {sentence(check)}{reason}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
