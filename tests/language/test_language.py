"""One word per concept: replaced names and banned phrases do not occur.

`old_names.txt` lists replaced identifiers, `banned_phrases.txt` phrases of texts and identifiers.
An exception needs a reason.
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MAX_TEST_NAME = 70
TEXT_SUFFIXES = (".md", ".html", ".toml", ".yml", ".yaml", ".in", ".sh")

# (file, phrase): why the phrase is right there.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def entries(name: str) -> dict[str, str]:
    """Return what each line replaces, and by what."""
    lines = (HERE / name).read_text().splitlines()
    return dict(
        line.split(" -> ", maxsplit=1) for line in lines if line and not line.startswith("#")
    )


def tracked_files() -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.exists() and HERE not in path.parents and path.name != "requirements.txt":
            yield path


def is_script(path: Path) -> bool:
    return path.parent.name in ("bin", ".ci")


FILES = [
    path
    for path in tracked_files()
    if path.suffix == ".py" or path.suffix in TEXT_SUFFIXES or is_script(path)
]


@cache
def phrase_pattern() -> re.Pattern[str]:
    phrases = sorted(entries("banned_phrases.txt"), key=len, reverse=True)
    words = ["[ _]".join(map(re.escape, phrase.split())) for phrase in phrases]
    return re.compile(rf"(?<![a-z])(?:{'|'.join(words)})(?![a-z])", re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers and texts: for Python names, strings and comments, else whole lines."""
    content = path.read_text()
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    kinds = (tokenize.NAME, tokenize.STRING, tokenize.COMMENT)
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in kinds:
            text = token.string
            if token.type == tokenize.NAME:  # split CamelCase into words
                text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
            for offset, line in enumerate(text.splitlines()):
                yield token.start[0] + offset, line


def file_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_banned_phrases_do_not_occur(path: Path) -> None:
    advice = entries("banned_phrases.txt")
    found = []
    for number, text in texts(path):
        for match in phrase_pattern().finditer(text):
            phrase = match[0].lower().replace("_", " ")
            if (file_id(path), phrase) not in EXCEPTIONS:
                found.append(f"line {number}: {phrase!r}; write: {advice[phrase]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_replaced_names_do_not_occur(path: Path) -> None:
    old_names = entries("old_names.txt")
    words = set(re.findall(r"[\w.\-]*\w", path.read_text()))
    words |= {part for word in words for part in re.split(r"[.\-]", word)}
    found = [f"{word}; write: {old_names[word]}" for word in sorted(words & old_names.keys())]
    assert not [each for each in found if (file_id(path), each.split(";")[0]) not in EXCEPTIONS]


def test_exceptions_are_needed_and_explained() -> None:
    assert all(EXCEPTIONS.values())
    for name, phrase in EXCEPTIONS:
        words = r"[\s_]".join(map(re.escape, phrase.split()))
        assert re.search(words, (ROOT / name).read_text(), re.IGNORECASE), (name, phrase)


def test_test_names_are_short() -> None:
    names = [
        match
        for path in FILES
        if path.suffix == ".py"
        for match in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    ]
    assert [name for name in names if len(name) > MAX_TEST_NAME] == []
