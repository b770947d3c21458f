#include "transfer_engine.h"

#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>
#include <numa.h>
#ifdef USE_CUDA
#include <cuda_runtime_api.h>
#endif

extern "C" int mooncake_standin_asio();
#ifdef USE_ETCD
extern "C" int mooncake_standin_etcd(const char *);
#endif

namespace mooncake {

Topology discover() {
    Topology found{0, 0, mooncake_standin_asio(), false};
    if (numa_available() >= 0) found.numa_nodes = numa_max_node() + 1;
#ifdef USE_CUDA
    if (cudaGetDeviceCount(&found.gpus) != cudaSuccess) found.gpus = 0;
#endif
#ifdef USE_ETCD
    mooncake_standin_etcd(nullptr);
#endif
    if (ibv_device **devices = ibv_get_device_list(&found.rdma_devices)) {
        if (found.rdma_devices) found.mlx5 = mlx5dv_is_supported(devices[0]);
        ibv_free_device_list(devices);
    }
    return found;
}

}  // namespace mooncake
