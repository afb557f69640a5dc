"""Runs the scenarios: one line each, the reason of a failure with the end of every log, and the count."""
import sys

import scenarios
from tools import choose, play
from world import World


def main():
    chosen, asked = choose("Postroad against real peers.", scenarios.ALL)
    with World(keep=asked.keep) as world:
        return play(chosen, world, world.log_ends)


if __name__ == "__main__":
    sys.exit(main())
