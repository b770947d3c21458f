/* Stand-in for UCX: one function of its interface. */
#ifndef UCP_STANDIN_H
#define UCP_STANDIN_H

#ifdef __cplusplus
extern "C" {
#endif

const char *ucp_get_version_string(void);

#ifdef __cplusplus
}
#endif

#endif
