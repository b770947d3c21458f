"""kvpack: recipes to locked, audited, reproducible manylinux wheels.

The packages stand in the order in which the data flows; each stage hands one frozen value to the
next and knows only the values of the stages to its left (``tests/unit/test_imports.py``)::

    recipe  recipes/*.toml      -> Recipe, Target     what to build
    lock    lock/*.toml         -> Lock               exactly which bytes
    fetch   registries, store   -> blobs by digest     those bytes, verified
    build   cibuildwheel        -> BuiltWheel         one action, no network
    audit   any wheel           -> AuditReport        proof, or no wheel

``errors``, ``names``, ``base`` and ``report`` are the vocabulary; ``tools`` is the only place that
touches processes, sockets, archives and TOML text; ``cli`` joins the stages; ``console`` draws.
"""

__version__ = "0.1.0"
