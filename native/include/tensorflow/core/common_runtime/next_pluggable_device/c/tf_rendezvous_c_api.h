// tensorflow/c/kernels.h includes a header by this name, which the wheel does not carry among its C API. We call
// nothing of it: its types need only exist. Stands last on the include path, so that a real one wins.
#pragma once

typedef struct TF_RendezvousThunk TF_RendezvousThunk;
