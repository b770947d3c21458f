#include <msgpack/version.hpp>

#include "mori/mori.hpp"

namespace mori {

// Stand-in for MoRI's libmori_io.
int ioStandin() { return hasVerbs(); }

}  // namespace mori
