#include <cstdio>

#include "mori/mori.hpp"
#ifdef BUILD_UMBP
#include <grpcpp/grpcpp.h>
#endif

namespace mori {
int shmemStandin();
int ioStandin();
}  // namespace mori

// MoRI loads its main library by name, and so does the stand-in (ctypes).
extern "C" const char *mori_standin() {
    static char text[256];
    const char *rpc = "without UMBP";
#ifdef BUILD_UMBP
    static const auto version = grpc::Version();
    rpc = version.c_str();
#endif
    snprintf(text, sizeof text, "%s; %s; %d GPUs, verbs %d", mori::gpuTargets(), rpc,
             mori::shmemStandin(), mori::ioStandin());
    return text;
}
