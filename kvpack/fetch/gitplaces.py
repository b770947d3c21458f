"""Where a git repository may be had, in the order to try; where a submodule's URL leads. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kvpack.fetch.model import GitRepository
from kvpack.recipe.source import git_url_fault


@dataclass(frozen=True, kw_only=True)
class GitPlaces:
    """What this machine, this team and this command line say about places."""

    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """From ``kvpack.toml``: how a URL starts -> what it may start with instead."""
    supplied: Mapping[str, str] = field(default_factory=dict)
    """From ``--source``: the name of a repository -> the one URL where it is taken from."""

    def of(self, repository: GitRepository) -> tuple[str, ...]:
        """The URLs to ask, in order: ``--source`` alone, else mirrors, upstream, more mirrors."""
        if repository.name in self.supplied:
            return (self.supplied[repository.name],)
        urls = [repository.git, *repository.mirrors]
        rewritten = [
            other + repository.git.removeprefix(start)
            for start, others in self.mirrors.items()
            if repository.git.startswith(start)
            for other in others
        ]
        return tuple(dict.fromkeys([*rewritten, *urls]))


def submodule(
    parent: GitRepository, path: str, url: str, places: Sequence[str]
) -> tuple[GitRepository | None, str]:
    """The repository of a submodule, or why its URL is refused.

    A relative URL is relative to its parent's (git-submodule(1), "add"): at each of its places.

    :param places: those of the parent; a local one may hold the submodule's clone inside.
    """
    name = f"{parent.name}/{path}"
    if re.match(r"\.\.?/", url):
        found = [_join(base, url) for base in (parent.git, *places)]
        faults = [git_url_fault(one, local=base.startswith("file:")) for one, base in zip(
            found, (parent.git, *places), strict=True)]  # fmt: skip
        if any(faults):
            return None, next(filter(None, faults))
    else:
        found = [url]
        if fault := git_url_fault(url):
            return None, fault
        if url.startswith("http:") and not parent.git.startswith("http:"):
            return None, "http, although the repository itself is not served so"
    inside = [f"{base.rstrip('/')}/{path}" for base in places if base.startswith("file:")]
    rest = (*found[1:], *inside)
    repository = GitRepository(
        name=name,
        label=f"submodule {path} of {parent.label}",
        git=found[0],
        mirrors=tuple(dict.fromkeys(rest)),
    )
    return repository, ""


def _join(base: str, relative: str) -> str:
    base = base.rstrip("/")
    while True:
        if relative.startswith("./"):
            relative = relative[2:]
        elif relative.startswith("../"):
            relative = relative[3:]
            head, _, _ = base.rpartition("/")
            base = base if head.endswith(("/", ":")) or not head else head
        else:
            return f"{base}/{relative}"
