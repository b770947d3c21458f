"""Stand-in for MoRI's compilation of kernels: there are none."""
