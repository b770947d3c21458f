/* Stand-in for mooncake._fast_copy. */
#include <Python.h>

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast_copy", "stand-in for mooncake._fast_copy", -1, NULL,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fast_copy(void) { return PyModule_Create(&definition); }
