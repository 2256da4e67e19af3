// Stands in for CuPy's header of this name: device_library.hpp has the atomics.
#pragma once
