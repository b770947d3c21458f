"""Extensions of torch, an axis whose values lie in one wheel together. Pure values.

An extension is compiled against one minor version of torch and works with no other: NIXL's EP is
``nixl_ep_cpp_torch213`` for 2.13 (ai-dynamo/nixl, examples/device/ep). So a wheel that serves
several is built once for each, in an environment that holds that torch.
"""

from typing import Annotated

from pydantic import StringConstraints

from kvpack.names import TORCH_PATTERN, version_key

TorchMinor = Annotated[str, StringConstraints(pattern=TORCH_PATTERN)]


def torch_requirement(minor: str) -> str:
    """What an environment asks for: ``torch==2.13.*``."""
    return f"torch=={minor}.*"


def ascending(minors: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, the oldest first: it is built for first."""
    return tuple(sorted(set(minors), key=version_key))
