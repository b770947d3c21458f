"""Stand-in for MoRI, made for kvpack's tests: it moves no data."""

import ctypes
import pathlib

_library = ctypes.CDLL(str(pathlib.Path(__file__).parent / "libmori_pybinds.so"))
_library.mori_standin.restype = ctypes.c_char_p


def describe():
    """What was built, in words."""
    return _library.mori_standin().decode()


def main():
    print(describe())
