#pragma once

#include <cstddef>

namespace mooncake {

// NVLink between nodes.
class NvlinkTransport {
   public:
    int registerLocalMemory(void *addr, size_t length);
    int unregisterLocalMemory(void *addr);
};

// NVLink inside a node.
class IntraNodeNvlinkTransport {
   public:
    int registerLocalMemory(void *addr, size_t length);
};

}  // namespace mooncake
