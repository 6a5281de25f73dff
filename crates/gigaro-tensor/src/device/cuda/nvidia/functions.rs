//! The functions of CUDA's libraries that are called, as tables that are filled from the very file that was found.
//!
//! cudarc's own functions look for a library by a list of names, the first of which may be of another version than the one that was chosen,
//! and panic where a name is missing. So only its types are used, and the compiler compares each line here with cudarc's. A status
//! comes back as a number: a newer library may answer with one that an enum of today does not have.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;

use cudarc::{cublaslt::sys as lt, driver::sys as cu, nvrtc::sys as rtc};
use libloading::Library;

/// What a function answered: 0 if all is well.
pub(super) type Status = u32;

/// A table of functions. Those under `status` return one, and are declared as in cudarc's module; those under `other` are not compared, because cudarc
/// has an enum where a number must do.
macro_rules! functions {
    (
        $(#[$about:meta])* $table:ident, $theirs:ident, $status:ty,
        status { $( fn $name:ident($($argument:ident: $type:ty),* $(,)?); )* }
        other { $( fn $other:ident($($other_argument:ident: $other_type:ty),*) -> $returns:ty; )* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        #[expect(non_snake_case, reason = "the vendor's names")]
        pub(super) struct $table {
            $( pub(super) $name: unsafe extern "C" fn($($argument: $type),*) -> Status, )*
            $( pub(super) $other: unsafe extern "C" fn($($other_argument: $other_type),*) -> $returns, )*
        }

        impl $table {
            /// Looks the functions up. The library stays loaded until the program ends: work on the card outlives the values that asked for it.
            pub(super) fn load(library: Library, path: &Path) -> Result<Self, String> {
                // SAFETY: each type is the one that the vendor declares for this name, which the comparisons below are about.
                let table = unsafe {
                    Self {
                        $( $name: *library
                            .get::<unsafe extern "C" fn($($type),*) -> Status>(stringify!($name))
                            .map_err(|_| absent(path, stringify!($name)))?, )*
                        $( $other: *library
                            .get::<unsafe extern "C" fn($($other_type),*) -> $returns>(stringify!($other))
                            .map_err(|_| absent(path, stringify!($other)))?, )*
                    }
                };
                std::mem::forget(library);
                Ok(table)
            }
        }

        #[cfg(test)]
        impl $table {
            /// A library that refuses everything with error 999, for tests to put functions of their own into.
            pub(super) fn refusing() -> Self {
                Self {
                    $( $name: {
                        unsafe extern "C" fn refuse($(_: $type),*) -> Status { 999 }
                        refuse
                    }, )*
                    $( $other: {
                        // SAFETY: numbers and pointers may be zero.
                        unsafe extern "C" fn nothing($(_: $other_type),*) -> $returns { unsafe { std::mem::zeroed() } }
                        nothing
                    }, )*
                }
            }
        }

        $( const _: unsafe fn($($type),*) -> $status = $theirs::$name; )*
    };
}

fn absent(path: &Path, name: &str) -> String {
    format!(
        "{} has no function {name}: it is not of CUDA 13. Install the one that belongs to it.",
        path.display()
    )
}

functions! {
    /// The driver.
    Cuda, cu, cu::CUresult,
    status {
        fn cuInit(flags: c_uint);
        fn cuDriverGetVersion(version: *mut c_int);
        fn cuDeviceGetCount(count: *mut c_int);
        fn cuDeviceGet(device: *mut cu::CUdevice, index: c_int);
        fn cuDeviceGetName(name: *mut c_char, length: c_int, device: cu::CUdevice);
        fn cuDeviceTotalMem_v2(bytes: *mut usize, device: cu::CUdevice);
        fn cuDeviceGetAttribute(value: *mut c_int, attribute: cu::CUdevice_attribute, device: cu::CUdevice);
        fn cuDevicePrimaryCtxRetain(context: *mut cu::CUcontext, device: cu::CUdevice);
        fn cuDevicePrimaryCtxRelease_v2(device: cu::CUdevice);
        fn cuCtxSetCurrent(context: cu::CUcontext);
        fn cuStreamCreate(stream: *mut cu::CUstream, flags: c_uint);
        fn cuStreamDestroy_v2(stream: cu::CUstream);
        fn cuStreamSynchronize(stream: cu::CUstream);
        fn cuStreamBeginCapture_v2(stream: cu::CUstream, mode: cu::CUstreamCaptureMode);
        fn cuStreamEndCapture(stream: cu::CUstream, graph: *mut cu::CUgraph);
        fn cuGraphInstantiateWithFlags(executable: *mut cu::CUgraphExec, graph: cu::CUgraph, flags: c_ulonglong);
        fn cuGraphUpload(executable: cu::CUgraphExec, stream: cu::CUstream);
        fn cuGraphLaunch(executable: cu::CUgraphExec, stream: cu::CUstream);
        fn cuGraphDestroy(graph: cu::CUgraph);
        fn cuGraphExecDestroy(executable: cu::CUgraphExec);
        fn cuEventCreate(event: *mut cu::CUevent, flags: c_uint);
        fn cuEventRecord(event: cu::CUevent, stream: cu::CUstream);
        fn cuEventSynchronize(event: cu::CUevent);
        fn cuEventDestroy_v2(event: cu::CUevent);
        fn cuMemAlloc_v2(address: *mut cu::CUdeviceptr, bytes: usize);
        fn cuMemFree_v2(address: cu::CUdeviceptr);
        fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
        fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, flags: c_uint);
        fn cuMemFreeHost(address: *mut c_void);
        fn cuMemcpyHtoDAsync_v2(to: cu::CUdeviceptr, from: *const c_void, bytes: usize, stream: cu::CUstream);
        fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: cu::CUdeviceptr, bytes: usize, stream: cu::CUstream);
        fn cuMemcpyDtoDAsync_v2(to: cu::CUdeviceptr, from: cu::CUdeviceptr, bytes: usize, stream: cu::CUstream);
        fn cuMemsetD8Async(at: cu::CUdeviceptr, value: u8, bytes: usize, stream: cu::CUstream);
        fn cuModuleLoadData(module: *mut cu::CUmodule, image: *const c_void);
        fn cuModuleUnload(module: cu::CUmodule);
        fn cuModuleGetFunction(function: *mut cu::CUfunction, module: cu::CUmodule, name: *const c_char);
        fn cuFuncSetAttribute(function: cu::CUfunction, attribute: cu::CUfunction_attribute, value: c_int);
        fn cuLaunchKernel(
            function: cu::CUfunction,
            blocks_x: c_uint, blocks_y: c_uint, blocks_z: c_uint,
            threads_x: c_uint, threads_y: c_uint, threads_z: c_uint,
            shared: c_uint,
            stream: cu::CUstream,
            arguments: *mut *mut c_void,
            extra: *mut *mut c_void,
        );
    }
    other {
        fn cuGetErrorString(error: Status, text: *mut *const c_char) -> Status;
        fn cuGetErrorName(error: Status, text: *mut *const c_char) -> Status;
    }
}

functions! {
    /// The compiler of kernels.
    Nvrtc, rtc, rtc::nvrtcResult,
    status {
        fn nvrtcVersion(major: *mut c_int, minor: *mut c_int);
        fn nvrtcGetNumSupportedArchs(count: *mut c_int);
        fn nvrtcGetSupportedArchs(all: *mut c_int);
        fn nvrtcCreateProgram(
            program: *mut rtc::nvrtcProgram,
            source: *const c_char,
            name: *const c_char,
            headers: c_int,
            texts: *const *const c_char,
            names: *const *const c_char,
        );
        fn nvrtcDestroyProgram(program: *mut rtc::nvrtcProgram);
        fn nvrtcCompileProgram(program: rtc::nvrtcProgram, count: c_int, options: *const *const c_char);
        fn nvrtcGetCUBINSize(program: rtc::nvrtcProgram, bytes: *mut usize);
        fn nvrtcGetCUBIN(program: rtc::nvrtcProgram, image: *mut c_char);
        fn nvrtcGetProgramLogSize(program: rtc::nvrtcProgram, bytes: *mut usize);
        fn nvrtcGetProgramLog(program: rtc::nvrtcProgram, log: *mut c_char);
    }
    other {
        fn nvrtcGetErrorString(error: Status) -> *const c_char;
    }
}

functions! {
    /// Matrix products.
    CublasLt, lt, lt::cublasStatus_t,
    status {
        fn cublasLtCreate(handle: *mut lt::cublasLtHandle_t);
        fn cublasLtDestroy(handle: lt::cublasLtHandle_t);
        fn cublasLtMatmulDescCreate(
            operation: *mut lt::cublasLtMatmulDesc_t,
            compute: lt::cublasComputeType_t,
            scale: lt::cudaDataType,
        );
        fn cublasLtMatmulDescDestroy(operation: lt::cublasLtMatmulDesc_t);
        fn cublasLtMatmulDescSetAttribute(
            operation: lt::cublasLtMatmulDesc_t,
            attribute: lt::cublasLtMatmulDescAttributes_t,
            value: *const c_void,
            bytes: usize,
        );
        fn cublasLtMatrixLayoutCreate(
            layout: *mut lt::cublasLtMatrixLayout_t,
            dtype: lt::cudaDataType,
            rows: u64,
            columns: u64,
            leading: i64,
        );
        fn cublasLtMatrixLayoutDestroy(layout: lt::cublasLtMatrixLayout_t);
        fn cublasLtMatrixLayoutSetAttribute(
            layout: lt::cublasLtMatrixLayout_t,
            attribute: lt::cublasLtMatrixLayoutAttribute_t,
            value: *const c_void,
            bytes: usize,
        );
        fn cublasLtMatmulPreferenceCreate(preference: *mut lt::cublasLtMatmulPreference_t);
        fn cublasLtMatmulPreferenceDestroy(preference: lt::cublasLtMatmulPreference_t);
        fn cublasLtMatmulPreferenceSetAttribute(
            preference: lt::cublasLtMatmulPreference_t,
            attribute: lt::cublasLtMatmulPreferenceAttributes_t,
            value: *const c_void,
            bytes: usize,
        );
        fn cublasLtMatmulAlgoGetHeuristic(
            handle: lt::cublasLtHandle_t,
            operation: lt::cublasLtMatmulDesc_t,
            a: lt::cublasLtMatrixLayout_t,
            b: lt::cublasLtMatrixLayout_t,
            c: lt::cublasLtMatrixLayout_t,
            d: lt::cublasLtMatrixLayout_t,
            preference: lt::cublasLtMatmulPreference_t,
            wanted: c_int,
            results: *mut lt::cublasLtMatmulHeuristicResult_t,
            count: *mut c_int,
        );
        fn cublasLtMatmul(
            handle: lt::cublasLtHandle_t,
            operation: lt::cublasLtMatmulDesc_t,
            alpha: *const c_void,
            a: *const c_void,
            a_layout: lt::cublasLtMatrixLayout_t,
            b: *const c_void,
            b_layout: lt::cublasLtMatrixLayout_t,
            beta: *const c_void,
            c: *const c_void,
            c_layout: lt::cublasLtMatrixLayout_t,
            d: *mut c_void,
            d_layout: lt::cublasLtMatrixLayout_t,
            algorithm: *const lt::cublasLtMatmulAlgo_t,
            workspace: *mut c_void,
            workspace_bytes: usize,
            stream: lt::cudaStream_t,
        );
    }
    other {
        fn cublasLtGetVersion() -> usize;
        fn cublasLtGetStatusString(status: Status) -> *const c_char;
    }
}
