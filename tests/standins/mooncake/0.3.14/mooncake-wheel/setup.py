"""Stand-in for Mooncake's setup.py: a platform wheel, tagged with the build host's glibc."""

import os

from setuptools import Distribution, Extension, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70.1
    from wheel.bdist_wheel import bdist_wheel


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


class HostWheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[-1].replace(".", "_")
        self.plat_name_supplied = True
        self.plat_name = f"manylinux_{glibc}_{os.uname().machine}"


setup(
    distclass=BinaryDistribution,
    cmdclass={"bdist_wheel": HostWheel},
    ext_modules=[Extension("mooncake._fast_copy", ["mooncake/_fast_copy.c"])],
)
