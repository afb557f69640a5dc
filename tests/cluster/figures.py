"""What is printed of many measurements."""


def quantile(values, share):
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(seconds):
    """Median, p99 and maximum, in milliseconds."""
    if not seconds:
        return "none"
    median, p99 = (1000 * quantile(seconds, share) for share in (0.5, 0.99))
    return f"median {median:.0f} ms, p99 {p99:.0f} ms, max {1000 * max(seconds):.0f} ms of {len(seconds)}"
