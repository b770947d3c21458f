#include <grpcpp/grpcpp.h>

#include <cstdio>

int main() {
    printf("stand-in for " PROGRAM " of MoRI, with gRPC %s: it serves nothing\n",
           grpc::Version().c_str());
}
