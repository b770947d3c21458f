// Stand-in for a shared build of asio.
extern "C" int mooncake_standin_asio() { return 0; }
