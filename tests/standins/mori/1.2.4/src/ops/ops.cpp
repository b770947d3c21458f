#include "mori/mori.hpp"

namespace mori {

const char *gpuTargets() {
    return gpus() ? "" : "stand-in for MoRI, built for " MORI_GPU_TARGETS;
}

}  // namespace mori
