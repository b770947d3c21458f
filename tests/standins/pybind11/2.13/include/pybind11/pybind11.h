// Stand-in for pybind11: constants, and functions without arguments that give a number.
#pragma once

#include <Python.h>

namespace pybind11 {

class module_ {
   public:
    explicit module_(PyObject *object) : object_(object) {}

    void attr(const char *name, const char *value) {
        PyModule_AddStringConstant(object_, name, value);
    }

    void attr(const char *name, bool value) {
        PyModule_AddObject(object_, name, PyBool_FromLong(value));
    }

    void def(const char *name, long long (*function)()) {
        auto *method = new PyMethodDef{name, call, METH_NOARGS, nullptr};
        PyObject *self = PyCapsule_New(reinterpret_cast<void *>(function), nullptr, nullptr);
        PyModule_AddObject(object_, name, PyCFunction_New(method, self));
        Py_DECREF(self);
    }

   private:
    static PyObject *call(PyObject *self, PyObject *) {
        auto function = reinterpret_cast<long long (*)()>(PyCapsule_GetPointer(self, nullptr));
        return PyLong_FromLongLong(function());
    }

    PyObject *object_;
};

}  // namespace pybind11

#define PYBIND11_MODULE(name, variable)                                             \
    static void pybind11_standin_init(pybind11::module_ &);                         \
    PyMODINIT_FUNC PyInit_##name() {                                                \
        static PyModuleDef definition = {PyModuleDef_HEAD_INIT, #name, nullptr, -1, \
                                         nullptr, nullptr, nullptr, nullptr, nullptr}; \
        PyObject *object = PyModule_Create(&definition);                            \
        if (object) {                                                               \
            pybind11::module_ variable(object);                                     \
            pybind11_standin_init(variable);                                        \
        }                                                                           \
        return object;                                                              \
    }                                                                               \
    static void pybind11_standin_init(pybind11::module_ &variable)
