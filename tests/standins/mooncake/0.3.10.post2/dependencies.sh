#!/bin/bash
# Stand-in for Mooncake's dependencies.sh: it says what it would install, and gets the submodules.
set -e
echo "stand-in for Mooncake needs: cmake ninja g++ libibverbs-dev libnuma-dev liburing-dev"
git submodule update --init --recursive
