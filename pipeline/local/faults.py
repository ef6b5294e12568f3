"""What can go wrong with the local stack, as errors whose message is meant for people.

Must never import anything: every other module of the package raises these.
"""


class LocalStackError(RuntimeError):
    """The local stack can't do what was asked; the message names the thing and the remedy."""


class ArtifactError(LocalStackError):
    """A pinned artifact could not be had, or is not what its pin says."""


class StackInUseError(LocalStackError):
    """Another process holds the state directory."""


class StartError(LocalStackError):
    """A process of the stack did not become ready."""
