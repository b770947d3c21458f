// Stand-in for msgpack-c.
#pragma once
#define MSGPACK_STANDIN 1
