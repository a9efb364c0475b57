"""How figures, paths and differences are written, alike in every table."""

from collections.abc import Iterator, Mapping, Sequence

from training.report.document import Entry, Mark

RISES = Mark("+", "the interval lies above 0", "good")
FALLS = Mark("-", "the interval lies below 0", "bad")


def path_name(path: Sequence[str]) -> str:
    """("fusar", "mix") -> "fusar → mix"."""
    return " → ".join(path)


def interval(figure: Mapping[str, float]) -> str:
    """{"value", "low", "high"} -> "0.64 (0.53 to 0.70)"."""
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def difference(figure: Mapping[str, float] | None) -> Entry:
    """A signed difference with its interval and, where that leaves 0 out, a mark."""
    if figure is None:
        return Entry("-")
    value, low, high = (_signed(figure[name]) for name in ("value", "low", "high"))
    return Entry(f"{value} ({low} to {high})", marks=direction(figure))


def _signed(value: float) -> str:
    # Adding 0 turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 2) + 0:+.2f}"


def direction(figure: Mapping[str, float]) -> tuple[Mark, ...]:
    """RISES or FALLS where the interval leaves 0 out."""
    if figure["low"] > 0:
        return (RISES,)
    return (FALLS,) if figure["high"] < 0 else ()


def entries(*texts: str) -> tuple[Entry, ...]:
    """Plain places of a row."""
    return tuple(Entry(text) for text in texts)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names with commas; what is over `most` is counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def share(figure: Mapping[str, float]) -> str:
    """A share with its interval.

    >>> share({"value": 0.906, "low": 0.827, "high": 0.949})
    '90.6% (82.7% to 94.9%)'
    """
    return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"


def table_head(*names: str) -> Iterator[str]:
    """The first two lines of a Markdown table."""
    yield table_row(*names)
    yield table_row(*("---" for _ in names))


def table_row(*cells: str) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
