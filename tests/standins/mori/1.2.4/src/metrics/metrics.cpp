#include "mori/mori.hpp"

namespace mori {

// Stand-in for MoRI's libmori_metrics.
int metricsStandin() { return gpus(); }

}  // namespace mori
