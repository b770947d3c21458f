#include "mori/mori.hpp"

namespace mori {

// Stand-in for MoRI's libmori_collective.
int collectiveStandin() { return gpus(); }

}  // namespace mori
