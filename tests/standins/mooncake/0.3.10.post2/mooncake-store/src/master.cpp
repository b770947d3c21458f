#include <cstdio>

extern "C" int mooncake_standin_asio();
#ifdef STORE_USE_ETCD
extern "C" int mooncake_standin_etcd(const char *);
#endif

int main() {
    printf("stand-in for mooncake_master of Mooncake " MOONCAKE_VERSION ": it serves nothing\n");
#ifdef STORE_USE_ETCD
    mooncake_standin_etcd(nullptr);
#endif
    return mooncake_standin_asio();
}
