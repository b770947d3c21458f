"""Places that hold the same objects: each is an alternate for a hash. Order, circuits, URLs."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kvpack.fetch.model import Registry, Wanted
from kvpack.fetch.places import Candidate, Tried
from kvpack.tools.anyweb import AnyWeb
from kvpack.tools.circuits import Circuits, Memory
from kvpack.tools.web import HttpSettings, Web, encode_path

INPUTS = "inputs"
"""The folder of a storage that holds locked inputs under their sha256."""


def input_place(sha256: str) -> str:
    """Where a storage keeps a locked input."""
    return f"{INPUTS}/{sha256[:2]}/{sha256}"


PATIENT = HttpSettings(connect=5, read=20)
"""Seconds for which a mirror of inputs may be silent: the registry itself comes after it."""


class Mirrors:
    """``Places`` of what lies in storages: releases, or mirrored inputs.

    :param bases: URLs of storages, in the order to try.
    """

    def __init__(self, bases: Sequence[str], web: Web, circuits: Circuits) -> None:
        self._bases = tuple(dict.fromkeys(base.rstrip("/") for base in bases))
        self._web, self._circuits = web, circuits

    def prepare(self, registries: Iterable[Registry]) -> None:
        """Nothing is to be asked."""

    def web(self, registry: Registry) -> Web:  # noqa: ARG002  # one port reaches all
        return self._web

    def places(self, wanted: Wanted) -> Iterator[Candidate]:
        return self.candidates(wanted.place)

    def candidates(self, path: str) -> Iterator[Candidate]:
        """Give the places of an object; those with an open circuit come last."""
        for base in self._circuits.ordered(self._bases):
            yield Candidate(
                url=f"{base}/{encode_path(path)}",
                web=self._web,
                told=functools.partial(self._told, base),
            )

    def _told(self, base: str, tried: Tried | None) -> None:
        if tried is None or 400 <= tried.status < 500:  # noqa: PLR2004  # it answers
            self._circuits.worked(base)
        else:
            self._circuits.failed(base, slow=tried.slow)


def input_mirrors(
    urls: Sequence[str], environment: Mapping[str, str], memory: Memory | None
) -> Mirrors:
    """The mirrors of locked inputs that ``kvpack.toml`` names."""
    return Mirrors(urls, AnyWeb(PATIENT, environment=environment), Circuits(memory))
