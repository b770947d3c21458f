// Stand-in for MoRI's kernels, which are compiled when they are first needed.
