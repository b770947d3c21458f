#include <pybind11/pybind11.h>

#include "transfer_engine.h"

static long long gpus() { return mooncake::discover().gpus; }

PYBIND11_MODULE(engine, m) {
    m.attr("__doc__", "stand-in for mooncake.engine: it transfers nothing");
    m.def("gpus", gpus);
}
