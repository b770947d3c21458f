#!/bin/bash
# Stand-in for Mooncake's dependencies.sh: it says what it would install, and gets the submodules.
set -e
echo "stand-in for Mooncake needs: cmake ninja g++ libibverbs-dev libnuma-dev liburing-dev"
echo "and yalantinglibs 0.5.7, installed: upstream's script downloads it"
git submodule update --init --recursive
