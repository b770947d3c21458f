// Stand-in for MoRI's cco.
#pragma once

namespace mori {

int ccoStandin();

}  // namespace mori
