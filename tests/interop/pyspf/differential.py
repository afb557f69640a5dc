"""A differential test of SPF against pyspf: `--seed S --count N > cases` makes cases with pyspf's verdict on each,
`--compare answers cases` judges ours. Both files are JSON lines; an answer is {"id": …, "result": …}.

A case: {"id", "ip", "helo", "local", "domain", "zone": [[name, type, value] or [name, "SERVFAIL"]], "pyspf": result}; the value
of TXT is a list of strings in Latin-1, one character an octet, of MX [preference, host]. Names that a zone has not do not exist.
"""
import argparse
import collections
import json
import sys

import mends
import worlds


def generate(seed, count):
    results = collections.Counter()
    for number in range(count):
        case = worlds.World(seed, number).case()
        case["pyspf"] = mends.verdict(case)
        results[case["pyspf"]] += 1
        print(json.dumps(case))
    print(", ".join(f"{result} {n}" for result, n in results.most_common()), file=sys.stderr)


def compare(answers, cases):
    """Prints how many are alike, explained and unexplained; whether none is unexplained.

    An answer is held to pyspf's with its deviations mended: one that is pyspf's where the RFC says otherwise is unexplained too."""
    alike, explained, unexplained = 0, collections.Counter(), []
    for case in cases:
        ours = answers.get(case["id"])
        if ours != mends.right(case):
            unexplained.append(case)
        elif ours == case["pyspf"]:
            alike += 1
        else:
            explained[" + ".join(mends.explanation(case))] += 1
    for case in unexplained:
        show(case, answers.get(case["id"]))
    for mend in sorted({mend for reason in explained for mend in reason.split(" + ")}):
        print(f"{mend}: {mends.MENDS[mend]}")
    reasons = ", ".join(f"{reason}: {count}" for reason, count in explained.most_common())
    print(f"{len(cases)} cases, {alike} alike, {explained.total()} explained ({reasons}), {len(unexplained)} unexplained")
    return not unexplained


def show(case, ours):
    readings = mends.other_readings(case, ours) if ours else None
    hint = f", ours if read otherwise: {' + '.join(readings)}" if readings else ""
    print(f"unexplained: ours {ours}, pyspf {case['pyspf']}, pyspf mended {mends.right(case)}{hint}\n  {json.dumps(case)}")


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7208)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--compare", nargs=2, metavar=("ANSWERS", "CASES"))
    wanted = parser.parse_args()
    if not wanted.compare:
        generate(wanted.seed, wanted.count)
        return 0
    answers, cases = map(lines, wanted.compare)
    return 0 if compare({answer["id"]: answer["result"] for answer in answers}, cases) else 1


if __name__ == "__main__":
    sys.exit(main())
