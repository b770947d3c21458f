#include "transport/rdma_transport/rdma_context.h"

#include <infiniband/verbs.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "environ.h"
#ifdef USE_CUDA
#include <cuda.h>
#endif

namespace mooncake {

#ifdef USE_CUDA
static bool onGpu(CUdeviceptr addr) {
    CUmemorytype type = CU_MEMORYTYPE_HOST;
    return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, addr) == CUDA_SUCCESS &&
           type == CU_MEMORYTYPE_DEVICE;
}

static bool exportRange(CUdeviceptr start, size_t size, int &fd) {
    return cuMemGetHandleForAddressRange(&fd, start, size, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD,
                                         0) == CUDA_SUCCESS;
}

// The whole allocation; where that is one mapping of several, the range that was asked for.
bool RdmaContext::exportDmabuf(void *addr, size_t length, DmabufExport &result) {
    auto start = reinterpret_cast<CUdeviceptr>(addr);
    CUdeviceptr base = 0;
    size_t size = 0;
    if (cuMemGetAddressRange(&base, &size, start) != CUDA_SUCCESS) {
        fprintf(stderr, "Failed to call cuMemGetAddressRange for %p\n", addr);
        return false;
    }
    if (start - base + length <= size && exportRange(base, size, result.fd)) {
        result.offset = start - base;
        return true;
    }
    fprintf(stderr, "only a part of an allocation is exported. Expected for CUDA VMM allocations\n");
    result.offset = 0;
    if (exportRange(start, length, result.fd)) return true;
    fprintf(stderr, "Failed to export dma_buf for addr=%p\n", addr);
    return false;
}
#else
bool RdmaContext::exportDmabuf(void *, size_t, DmabufExport &) { return false; }
#endif

void RdmaContext::closeDmabufExport(DmabufExport &result) {
    if (result.fd >= 0) close(result.fd);
    result.fd = -1;
}

ibv_mr *RdmaContext::registerMemoryRegionInternal(void *addr, size_t length, int access) {
#ifdef USE_CUDA
    if (!Environ::nvidiaPeermem() && onGpu(reinterpret_cast<CUdeviceptr>(addr))) {
        DmabufExport shared;
        if (!exportDmabuf(addr, length, shared)) return nullptr;
        ibv_mr *region = ibv_reg_dmabuf_mr(pd_, shared.offset, length,
                                           reinterpret_cast<uintptr_t>(addr), shared.fd, access);
        closeDmabufExport(shared);
        return region;
    }
#endif
    return ibv_reg_mr(pd_, addr, length, access);
}

}  // namespace mooncake
