#pragma once

namespace mooncake {

// What the environment says when it is asked, else the default.
class Environ {
   public:
    // Whether GPU memory is registered through nvidia-peermem; otherwise through dma-buf.
    static bool nvidiaPeermem();
};

}  // namespace mooncake
