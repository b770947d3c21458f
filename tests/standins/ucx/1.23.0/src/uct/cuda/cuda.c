/* Stand-in for UCX's libuct_cuda. */
#include <cuda.h>

int uct_standin(void);

const char *uct_cuda_standin(void);
const char *uct_cuda_standin(void) {
    static const int built_for = CUDA_VERSION;
    return uct_standin() && cuInit(0) == CUDA_SUCCESS && built_for ? "cuda" : "";
}
