# distutils: language = c++
"""Stand-in for mori.cco.cco, the extension that is left out where Cython is missing."""

cdef extern from "mori/cco.hpp" namespace "mori":
    int ccoStandin()


def gpus():
    return ccoStandin()
