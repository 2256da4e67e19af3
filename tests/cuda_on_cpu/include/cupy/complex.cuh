// Stands in for CuPy's header of this name.
#pragma once
#include <complex>
template <class T> using complex = std::complex<T>;
namespace thrust { using std::complex; }
using std::arg;
using std::conj;
using std::imag;
using std::norm;
using std::real;
