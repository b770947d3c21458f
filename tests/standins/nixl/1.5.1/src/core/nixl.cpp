#include "nixl.h"
#include <taskflow/taskflow.hpp>

const char *nixl_version() { return "stand-in for NIXL 1.5.1 with " TF_STANDIN; }
