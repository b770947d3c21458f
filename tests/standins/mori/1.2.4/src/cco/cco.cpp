#include "mori/cco.hpp"

#include "mori/mori.hpp"

namespace mori {

int ccoStandin() { return gpus(); }

}  // namespace mori
