#include <dlfcn.h>
#include <numa.h>
extern "C" {
#include <pci/pci.h>
}
#include <spdlog/version.h>

#include "mori/mori.hpp"
#ifdef USE_ROCM
#include <hip/hip_runtime_api.h>
#endif

namespace mori {

// libibverbs is the host's, loaded when needed: a machine without it can still import this.
bool hasVerbs() {
    void *verbs = dlopen("libibverbs.so.1", RTLD_NOW);
    if (verbs) dlclose(verbs);
    return verbs;
}

int gpus() {
    int count = 0;
    if (pci_access *access = pci_alloc()) pci_cleanup(access);
#ifdef USE_ROCM
    if (hipGetDeviceCount(&count) != hipSuccess) count = 0;
#endif
    return numa_available() < 0 ? 0 : count;
}

}  // namespace mori
