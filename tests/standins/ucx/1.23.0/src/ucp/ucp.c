/* Stand-in for UCX's libucp. */
#include "ucp/api/ucp.h"

int uct_standin(void);

const char *ucp_get_version_string(void) { return uct_standin() ? "1.23.0" : ""; }
