# oneDNN as the target DNNL::dnnl. Debian's own package file asks for OpenCL's headers, which the CPU engine never uses.
find_path(ASSAY_DNNL_INCLUDE oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(ASSAY_DNNL_LIBRARY dnnl REQUIRED)
add_library(DNNL::dnnl SHARED IMPORTED GLOBAL)
set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${ASSAY_DNNL_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${ASSAY_DNNL_INCLUDE})
