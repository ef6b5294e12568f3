"""A policy folder of a test's own: the shipped one, changed at one place."""

import shutil

from pipeline.contract.bundle import load_files
from pipeline.contract.names import data_root
from pipeline.contract.policy_lint import lint
from pipeline.contract.topics import load as load_topics


class PolicyFolder:
    """A copy of the shipped bundle."""

    def __init__(self, folder):
        self.path = folder / "policy"
        shutil.copytree(data_root() / "policy", self.path)

    def change(self, file, old, new, count=1):
        """Replace a text that is there; the line of its first place, after the change."""
        path = self.path / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, count), encoding="utf-8")
        return text[: text.index(old)].count("\n") + 1

    def add(self, file, text):
        """Append lines; the line of the first."""
        path = self.path / file
        before = path.read_text(encoding="utf-8")
        path.write_text(before + text, encoding="utf-8")
        return before.count("\n") + 1

    def findings(self):
        return lint(load_files(self.path), load_topics())
