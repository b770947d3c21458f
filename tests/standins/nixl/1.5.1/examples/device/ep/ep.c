/* Stand-in for NIXL's expert parallelism. */
#include <Python.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <torch/version.h>

static PyObject *gpus(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int count = 0;
    if (cuInit(0) != CUDA_SUCCESS || cudaGetDeviceCount(&count) != cudaSuccess) count = 0;
    return PyLong_FromLong(count);
}

static PyObject *torch(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyUnicode_FromString("stand-in for EP, compiled against torch " TORCH_VERSION);
}

static PyMethodDef methods[] = {
    {"gpus", gpus, METH_NOARGS, NULL}, {"torch", torch, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "nixl_ep", "stand-in for NIXL's EP", -1, methods,
    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC MODULE(void) { return PyModule_Create(&definition); }
