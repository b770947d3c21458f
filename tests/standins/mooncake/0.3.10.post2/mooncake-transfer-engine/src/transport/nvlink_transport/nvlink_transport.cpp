#include "transport/nvlink_transport/nvlink_transport.h"

#include <cuda.h>

namespace mooncake {

// It asks for an allocation's range too: that import alone says nothing about registration for RDMA.
int NvlinkTransport::registerLocalMemory(void *addr, size_t length) {
    CUdeviceptr base = 0;
    size_t size = 0;
    CUmemGenericAllocationHandle handle;
    if (cuMemGetAddressRange(&base, &size, reinterpret_cast<CUdeviceptr>(addr)) != CUDA_SUCCESS ||
        cuMemRetainAllocationHandle(&handle, reinterpret_cast<void *>(base)) != CUDA_SUCCESS)
        return -1;
    return length <= size ? 0 : -1;
}

int NvlinkTransport::unregisterLocalMemory(void *addr) { return addr ? 0 : -1; }

}  // namespace mooncake
