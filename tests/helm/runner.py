"""Runs the checks: one line each, the reason of a failure, and the count."""
import os
import pathlib
import shutil
import sys

import checks
from helm import Helm
from tools import choose, play


class World:
    """What the checks run with."""

    def __init__(self, environment, keep):
        self.folder, self.keep = pathlib.Path(environment["POSTROAD_INTEROP"]), keep
        self.helms = [Helm("helm3", self.folder), Helm("helm4", self.folder)]
        self.postroad = pathlib.Path(environment["POSTROAD_BIN"]) / "postroad"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for helm in self.helms if not self.keep else []:
            shutil.rmtree(helm.home)


def main():
    chosen, asked = choose("The chart, without a cluster.", checks.ALL)
    with World(os.environ, asked.keep) as world:
        return play(chosen, world)


if __name__ == "__main__":
    sys.exit(main())
