#include <cstdio>

#include "nixl.h"
#ifdef HAVE_UCX
#include <ucp/api/ucp.h>
#endif

int main() {
    printf("%s: it transfers nothing\n", nixl_version());
#ifdef HAVE_UCX
    printf("stand-in for UCX %s\n", ucp_get_version_string());
#endif
}
