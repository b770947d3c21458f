#pragma once

namespace mooncake {

struct Topology {
    int numa_nodes;
    int gpus;
    int rdma_devices;
    bool mlx5;
};

// What this machine has. Stand-in: nothing is transferred.
Topology discover();

}  // namespace mooncake
