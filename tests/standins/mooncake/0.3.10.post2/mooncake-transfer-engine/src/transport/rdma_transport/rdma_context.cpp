#include "transport/rdma_transport/rdma_context.h"

#include <infiniband/verbs.h>

#include <cstdint>
#include <cstdio>
#if defined(USE_CUDA) && !defined(WITH_NVIDIA_PEERMEM)
#include <cuda.h>
#define REGISTER_WITH_DMABUF
#endif

namespace mooncake {

#ifdef REGISTER_WITH_DMABUF
static bool onGpu(CUdeviceptr addr) {
    CUmemorytype type = CU_MEMORYTYPE_HOST;
    return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, addr) == CUDA_SUCCESS &&
           type == CU_MEMORYTYPE_DEVICE;
}

// An address inside an allocation is taken for its start: wrong, as upstream's was.
static ibv_mr *registerGpuMemory(ibv_pd *pd, CUdeviceptr addr, size_t length, int access) {
    size_t size = 0;
    int fd = -1;
    if (cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, addr) != CUDA_SUCCESS ||
        cuMemGetHandleForAddressRange(&fd, addr, size, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0) !=
            CUDA_SUCCESS) {
        fprintf(stderr, "no dma-buf for %p\n", reinterpret_cast<void *>(addr));
        return nullptr;
    }
    return ibv_reg_dmabuf_mr(pd, 0, length, addr, fd, access);
}
#endif

ibv_mr *RdmaContext::registerMemoryRegionInternal(void *addr, size_t length, int access) {
#ifdef REGISTER_WITH_DMABUF
    auto device = reinterpret_cast<CUdeviceptr>(addr);
    if (onGpu(device)) return registerGpuMemory(pd_, device, length, access);
#endif
    return ibv_reg_mr(pd_, addr, length, access);
}

}  // namespace mooncake
