/* Stand-in for NIXL's Python bindings. */
#include <Python.h>

const char *nixl_version(void);

static PyObject *version(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyUnicode_FromString(nixl_version());
}

static PyMethodDef methods[] = {{"version", version, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_bindings", "stand-in for NIXL's bindings", -1, methods,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__bindings(void) { return PyModule_Create(&definition); }
