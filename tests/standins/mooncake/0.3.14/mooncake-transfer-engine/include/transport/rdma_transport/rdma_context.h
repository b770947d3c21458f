#pragma once

#include <cstddef>
#include <cstdint>

struct ibv_mr;
struct ibv_pd;

namespace mooncake {

// A piece of GPU memory as a file descriptor, which serves all devices.
struct DmabufExport {
    int fd = -1;
    uint64_t offset = 0;
};

// Memory that one RDMA device may reach.
class RdmaContext {
   public:
    explicit RdmaContext(ibv_pd *pd) : pd_(pd) {}
    static bool exportDmabuf(void *addr, size_t length, DmabufExport &result);
    static void closeDmabufExport(DmabufExport &result);
    ibv_mr *registerMemoryRegionInternal(void *addr, size_t length, int access);

   private:
    ibv_pd *pd_;
};

}  // namespace mooncake
