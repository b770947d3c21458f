#include <cstdio>

#include "environ.h"
#include "transfer_engine.h"

int main() {
    auto found = mooncake::discover();
    printf("stand-in for transfer_engine_bench of Mooncake " MOONCAKE_VERSION
           ": it transfers nothing; %d NUMA nodes, %d GPUs, %d RDMA devices; %s\n",
           found.numa_nodes, found.gpus, found.rdma_devices,
           mooncake::Environ::nvidiaPeermem() ? "nvidia-peermem" : "dma-buf");
}
