"""Runs the program of this package that the console script is named for."""

import os
import sys


def main():
    program = os.path.join(os.path.dirname(__file__), os.path.basename(sys.argv[0]))
    os.execv(program, [program, *sys.argv[1:]])
