#include <cstdio>

#include "file_storage.h"

int main() {
    printf("stand-in for mooncake_client of Mooncake " MOONCAKE_VERSION ": it stores nothing\n");
    return mooncake::openStorage() ? 1 : 0;
}
