#include "nixl.h"

const char *nixl_version() { return "stand-in for NIXL 1.5.1"; }
