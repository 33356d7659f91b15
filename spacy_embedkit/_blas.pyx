"""A CBlas of thinc whose functions come from SciPy's BLAS.

thinc hands a CBlas to the C code of the parser and the entity recognizer. SciPy
publishes its BLAS, which picks kernels for the CPU it runs on, as function pointers in
capsules: they are read at run time, so the build needs no SciPy.
"""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from thinc.backends.cblas cimport CBlas, set_daxpy, set_saxpy, set_sgemm

# Fortran: by reference, columns first.
ctypedef void (*fortran_sgemm)(
    char*, char*, int*, int*, int*, float*, float*, int*, float*, int*, float*, float*,
    int*,
) noexcept nogil
ctypedef void (*fortran_saxpy)(int*, float*, float*, int*, float*, int*) noexcept nogil
ctypedef void (*fortran_daxpy)(
    int*, double*, double*, int*, double*, int*
) noexcept nogil

cdef fortran_sgemm f_sgemm = NULL
cdef fortran_saxpy f_saxpy = NULL
cdef fortran_daxpy f_daxpy = NULL


cdef void* pointer(dict capi, str name, int n_arguments) except NULL:
    """Read a function pointer, after a look at the signature it was published with."""
    capsule = capi[name]
    cdef const char* signature = PyCapsule_GetName(capsule)
    found = (<bytes>signature).count(b",") + 1
    if found != n_arguments:
        raise ImportError(
            f"scipy.linalg.cython_blas.{name} takes {found} arguments, but "
            f"{n_arguments} were expected; install another version of SciPy"
        )
    return PyCapsule_GetPointer(capsule, signature)


def load(dict capi not None):
    """Take the functions of scipy.linalg.cython_blas.__pyx_capi__."""
    global f_sgemm, f_saxpy, f_daxpy
    f_sgemm = <fortran_sgemm>pointer(capi, "sgemm", 13)
    f_saxpy = <fortran_saxpy>pointer(capi, "saxpy", 6)
    f_daxpy = <fortran_daxpy>pointer(capi, "daxpy", 6)


cdef void sgemm(
    bint transA, bint transB, int M, int N, int K, float alpha, const float* A, int lda,
    const float* B, int ldb, float beta, float* C, int ldc,
) noexcept nogil:
    # Row-major C = A B is column-major C' = B' A'.
    cdef char trans_a = b"T" if transA else b"N"
    cdef char trans_b = b"T" if transB else b"N"
    f_sgemm(
        &trans_b, &trans_a, &N, &M, &K, &alpha, <float*>B, &ldb, <float*>A, &lda, &beta,
        C, &ldc,
    )


cdef void saxpy(
    int N, float alpha, const float* X, int incX, float* Y, int incY
) noexcept nogil:
    f_saxpy(&N, &alpha, <float*>X, &incX, Y, &incY)


cdef void daxpy(
    int N, double alpha, const double* X, int incX, double* Y, int incY
) noexcept nogil:
    f_daxpy(&N, &alpha, <double*>X, &incX, Y, &incY)


def make_cblas():
    """Return a CBlas; load has to be called first."""
    cdef CBlas cblas = CBlas()
    set_sgemm(cblas, sgemm)
    set_saxpy(cblas, saxpy)
    set_daxpy(cblas, daxpy)
    return cblas
