#include "file_storage.h"

#include <cstdlib>

#include "transfer_engine.h"

namespace mooncake {

int openStorage() {
    discover();  // the store stands on the transfer engine
    const char *wanted = getenv("MOONCAKE_OFFLOAD_USE_URING");
    if (!wanted) wanted = getenv("MOONCAKE_USE_URING");
#ifdef USE_URING
    if (wanted && *wanted == '1') return openRing() ? 0 : -1;
#endif
    return wanted && *wanted == '1' ? -1 : 0;
}

}  // namespace mooncake
