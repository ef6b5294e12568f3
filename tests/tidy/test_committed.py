"""What may be committed: nothing of one machine, no download address, no secret; links resolve."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from repository import ROOT, files, listed, texts

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/[\w.-]+")
DOWNLOAD_ADDRESS = re.compile(
    r"https?://[^ \"'<>]*(?:/simple/|/packages/|/maven2/|\.whl|\.tgz|\.crate|/-/)"
    r"|https?://(?:repo|registry|files|pypi|deb|proxy)\d*\.[\w.]+"
)
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bxox[abp]-\w{10}"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SAMPLES = ("tests/samples/", "partners/")
BYTES_MAX = 512 * 1024


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        (MACHINE_PATH, "a path of one machine: make it relative, or a setting"),
        (DOWNLOAD_ADDRESS, "where packages come from is the user's choice: name the package"),
        (SECRET, "a secret: revoke it, then remove it from history"),
    ],
    ids=["machine path", "download address", "secret"],
)
def test_nothing_is_committed_that_binds_to_one_place(pattern, remedy):
    assert not found(pattern), f"{remedy}{listed(found(pattern))}"


def test_files_are_small_enough_to_review():
    large = [str(p.relative_to(ROOT)) for p in files() if p.stat().st_size > BYTES_MAX]
    assert not large, f"larger than {BYTES_MAX} bytes:{listed(large)}"


def test_text_ends_with_a_line_end_and_has_no_stray_blanks():
    untidy = [
        str(path.relative_to(ROOT))
        for path, text in texts().items()
        if not path.relative_to(ROOT).as_posix().startswith(SAMPLES)
        and text
        and (not text.endswith("\n") or "\r" in text or re.search(r"[ \t]+$", text, re.MULTILINE))
    ]
    assert not untidy, f"no line end at the end, CR, or blanks before a line end:{listed(untidy)}"


def anchors(text: str) -> set[str]:
    """The anchors that a reader's browser finds, made as GitHub makes them."""
    words = (re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in words}


def test_links_lead_somewhere():
    broken = []
    pages = {path: CODE.sub("", text) for path, text in texts().items() if path.suffix == ".md"}
    for path, text in pages.items():
        for target in (one or two for one, two in LINK.findall(text)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = unquote(target).partition("#")
            there = (path.parent / name).resolve() if name else path
            if not there.exists() or (
                anchor and there.suffix == ".md" and anchor not in anchors(pages[there])
            ):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken, f"links to nowhere:{listed(broken)}"
