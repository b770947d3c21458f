#include <ucp/api/ucp.h>

#include "nixl.h"

const char *nixl_plugin() { return *nixl_version() ? ucp_get_version_string() : ""; }
