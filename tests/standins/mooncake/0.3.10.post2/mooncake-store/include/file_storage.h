#pragma once

namespace mooncake {

// Opens the store's disk back end: 0, or -1.
int openStorage();

#ifdef USE_URING
bool openRing();
#endif

}  // namespace mooncake
