#include <pybind11/pybind11.h>

extern "C" int mooncake_standin_ep();

static long long launch() { return mooncake_standin_ep(); }

PYBIND11_MODULE(_ep, m) {
    m.attr("__doc__", "stand-in for mooncake._ep: it computes nothing");
    m.def("launch", launch);
}
