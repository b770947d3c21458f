// Stand-in for MoRI: what its libraries tell each other.
#pragma once

namespace mori {

int gpus();
bool hasVerbs();
const char *gpuTargets();

}  // namespace mori
