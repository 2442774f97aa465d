# The CUDA compiler and runtime. Defines ASSAY_HAVE_CUDA and assay_cuda_runtime: the runtime linked statically, so that a program
# starts where there is no driver; cuBLASLt's header if there is one (the library is opened when the backend is).
set(ASSAY_HAVE_CUDA OFF)
if(NOT ASSAY_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(ASSAY_HAVE_CUDA ON)
    set(CMAKE_CUDA_ARCHITECTURES 90a-real)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    endif()
    string(APPEND CMAKE_CUDA_FLAGS " -diag-suppress=2810")  # nvcc takes an assigned Status for one that is dropped
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    if(CCACHE)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
    endif()
    find_package(CUDAToolkit REQUIRED)
    add_library(assay_cuda_runtime INTERFACE)
    target_link_libraries(assay_cuda_runtime INTERFACE CUDA::cudart_static ${CMAKE_DL_LIBS})
    find_path(ASSAY_CUBLASLT_INCLUDE cublasLt.h
      HINTS ${PROJECT_SOURCE_DIR}/.assay/packages/cublas/nvidia/cu13/include ${CUDAToolkit_INCLUDE_DIRS})
    if(ASSAY_CUBLASLT_INCLUDE)
      target_include_directories(assay_cuda_runtime SYSTEM INTERFACE ${ASSAY_CUBLASLT_INCLUDE})
      target_compile_definitions(assay_cuda_runtime INTERFACE ASSAY_HAVE_CUBLASLT=1)
    endif()
    message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION}, cuBLASLt's header: ${ASSAY_CUBLASLT_INCLUDE}")
  elseif(ASSAY_CUDA STREQUAL "ON")
    message(FATAL_ERROR "No CUDA compiler found: install the CUDA 13 toolkit, or set ASSAY_CUDA=OFF")
  endif()
endif()

# Programs that are carried to another machine find their libraries in lib/ beside them (scripts/cuda_bundle.sh).
option(ASSAY_CARRIED "Programs look for their libraries in lib/ beside them" OFF)
if(ASSAY_CARRIED)
  set(CMAKE_BUILD_RPATH "$ORIGIN/lib")
  add_link_options("LINKER:--disable-new-dtags")  # the libraries' own needs are looked for there too
endif()
