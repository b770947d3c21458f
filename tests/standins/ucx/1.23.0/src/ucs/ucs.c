/* Stand-in for UCX's libucs. */
int ucm_standin(void);

const char *ucs_standin(void) {
    return ucm_standin() ? "" : "stand-in for UCX, configured with: " UCX_STANDIN_FLAGS;
}
