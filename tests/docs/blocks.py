"""The fenced blocks of the documents."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its file, its first line, and its text."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks of one language in docs/*.md, in order."""
    return [
        Block(path.name, text.count("\n", 0, match.start()) + 2, match[2])
        for path in DOCS
        for text in [path.read_text(encoding="utf-8")]
        for match in _FENCE.finditer(text)
        if match[1] == language
    ]
