"""Runs the checks: one line each, the reason of a failure, and the count."""
import os
import signal
import sys

import checks
from tools import play
from world import World


def main():
    # so that an end from outside ends the node and Prometheus too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with World(os.environ) as world:
        return play(checks.ALL, world)


if __name__ == "__main__":
    sys.exit(main())
