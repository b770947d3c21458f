"""Stand-in for nixl_ep: the extension of the minor version of torch that is installed."""

import importlib

import torch

_major, _minor = torch.__version__.split(".")[:2]
nixl_ep_cpp = importlib.import_module(f"{__name__}.nixl_ep_cpp_torch{_major}{_minor}")
