"""Stand-in for NIXL's dispatcher: the back end of the CUDA major that torch was built for."""

import importlib
import importlib.util

_BACK_ENDS = ("nixl_cu13", "nixl_cu12", "nixl_rocm")


def _back_end():
    if importlib.util.find_spec("torch"):
        import torch

        if torch.version.cuda:
            return "nixl_cu" + torch.version.cuda.partition(".")[0]
    return next((name for name in _BACK_ENDS if importlib.util.find_spec(name)), _BACK_ENDS[0])


back_end = importlib.import_module(_back_end())
