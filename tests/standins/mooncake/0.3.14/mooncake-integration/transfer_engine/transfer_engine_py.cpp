#include <pybind11/pybind11.h>

#include "environ.h"
#include "transfer_engine.h"

#ifdef USE_CUDA
#define SUPPORT_CUDA true
#else
#define SUPPORT_CUDA false
#endif
#ifdef USE_MNNVL
#define SUPPORT_MNNVL true
#else
#define SUPPORT_MNNVL false
#endif
#ifdef USE_INTRA_NVLINK
#define SUPPORT_INTRA_NVLINK true
#else
#define SUPPORT_INTRA_NVLINK false
#endif

static long long gpus() { return mooncake::discover().gpus; }
static long long nvidia_peermem() { return mooncake::Environ::nvidiaPeermem(); }

PYBIND11_MODULE(engine, m) {
    m.attr("__doc__", "stand-in for mooncake.engine: it transfers nothing");
    m.attr("SUPPORT_CUDA", SUPPORT_CUDA);
    m.attr("SUPPORT_MNNVL", SUPPORT_MNNVL);
    m.attr("SUPPORT_INTRA_NVLINK", SUPPORT_INTRA_NVLINK);
    m.def("nvidia_peermem", nvidia_peermem);
    m.def("gpus", gpus);
}
