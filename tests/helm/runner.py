"""Runs the checks: one line each, the reason of a failure, and the count."""
import argparse
import os
import pathlib
import shutil
import sys
import time
import traceback

import checks
from helm import Helm, Refused, Skip


class World:
    """What the checks run with."""

    def __init__(self, environment):
        self.folder = pathlib.Path(environment["POSTROAD_INTEROP"])
        self.helms = [Helm("helm3", self.folder), Helm("helm4", self.folder)]
        self.postroad = pathlib.Path(environment["POSTROAD_BIN"]) / "postroad"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for helm in self.helms:
            shutil.rmtree(helm.home)


def main():
    parser = argparse.ArgumentParser(prog="run")
    parser.add_argument("-k", metavar="WORDS", default="", help="only the checks whose names have these words in them")
    words = parser.parse_args().k
    passed, failed, skipped = 0, 0, 0
    with World(os.environ) as world:
        for check in checks.ALL:
            sentence = check.__name__.replace("_", " ")
            if words not in sentence:
                continue
            begun = time.monotonic()
            try:
                told = check(world)
                verdict, reason = "ok", f" ({told})" if told else ""
                passed += 1
            except Skip as skip:
                verdict, reason = "skip", f" ({skip})"
                skipped += 1
            except (AssertionError, Refused) as error:
                # an assertion without words: the line itself says what
                verdict, reason = "FAIL", "\n" + (str(error) or traceback.format_exc())
                failed += 1
            except Exception:  # whatever went wrong is this check's failure, and the next one runs
                verdict, reason = "FAIL", "\n" + traceback.format_exc()
                failed += 1
            print(f"{verdict:4} {time.monotonic() - begun:6.1f} s  {sentence}{reason}", flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
