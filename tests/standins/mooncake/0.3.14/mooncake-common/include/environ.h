#pragma once

namespace mooncake {

// What the environment says, else the default.
class Environ {
   public:
    // Whether GPU memory is registered through nvidia-peermem; otherwise through dma-buf.
    static bool nvidiaPeermem();
    // The default of nvidiaPeermem, in words.
    static const char *nvidiaPeermemDefault();
};

}  // namespace mooncake
