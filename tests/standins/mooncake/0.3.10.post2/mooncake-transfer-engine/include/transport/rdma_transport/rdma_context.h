#pragma once

#include <cstddef>

struct ibv_mr;
struct ibv_pd;

namespace mooncake {

// Memory that one RDMA device may reach.
class RdmaContext {
   public:
    explicit RdmaContext(ibv_pd *pd) : pd_(pd) {}
    ibv_mr *registerMemoryRegionInternal(void *addr, size_t length, int access);

   private:
    ibv_pd *pd_;
};

}  // namespace mooncake
