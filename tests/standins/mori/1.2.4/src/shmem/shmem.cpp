#include "mori/mori.hpp"

namespace mori {

// Stand-in for MoRI's libmori_shmem.
int shmemStandin() { return gpus(); }

}  // namespace mori
