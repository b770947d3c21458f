#include <pybind11/pybind11.h>

#include "file_storage.h"

static long long open_storage() { return mooncake::openStorage(); }

PYBIND11_MODULE(_store, m) {
    m.attr("__doc__", "stand-in for mooncake.store: it stores nothing");
    m.def("open_storage", open_storage);
}
