#pragma once

// Marks what the host and a device both compile, so that both give the same bits.
#ifdef __CUDACC__
#define ASSAY_HOST_DEVICE __host__ __device__
#else
#define ASSAY_HOST_DEVICE
#endif
