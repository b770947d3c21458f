#include <aio.h>

#include "nixl.h"

const char *nixl_plugin() { return *nixl_version() && aio_cancel(-1, nullptr) ? "POSIX" : ""; }
