// Stand-in for spdlog.
#pragma once
#define SPDLOG_STANDIN 1
