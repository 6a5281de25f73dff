//! Matrix products by cuBLASLt.
//!
//! What to ask for is decided in [`layout`](super::layout). Here the library is asked which of its algorithms it takes for a plan, once, and
//! then told to run that one. Unless any order is allowed, these are algorithms whose sums do not depend on the order in which blocks finish: an inner
//! dimension may be split if the parts are added in a step of their own, in the type of the sums, and never in place. So the same card gives the
//! same bits in every run.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{from_ref, null_mut};
use std::sync::Arc;

use cudarc::cublaslt::sys as lt;

use super::super::driver::{Address, DriverError, Epilogue, Product, Result};
use super::functions::{CublasLt, Status};
use super::layout::{Kind, Plan, Stored, Sums, beside, plan};
use super::libraries::owned;
use super::stream::Stream;
use crate::DType;

/// Memory that algorithms may use; the size that NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;
/// How many algorithms the library may propose; the first that it says works is taken.
const PROPOSALS: usize = 8;
/// How many plans are remembered; texts of many lengths make many.
const PLANS: usize = 4096;

/// What the library answered, if not that all is well.
type Answer<T> = std::result::Result<T, Status>;

fn answer(status: Status) -> Answer<()> {
    if status == 0 { Ok(()) } else { Err(status) }
}

/// The library on one card.
pub(super) struct Products {
    lt: &'static CublasLt,
    stream: Arc<Stream>,
    handle: lt::cublasLtHandle_t,
    workspace: Address,
    /// `None`: the library has no algorithm.
    prepared: HashMap<Plan, Option<Prepared>>,
}

// SAFETY: the handles are the library's and belong to this value alone; the library lets any thread use them, one at a time.
unsafe impl Send for Products {}

impl Products {
    pub(super) fn new(lt: &'static CublasLt, stream: Arc<Stream>) -> Result<Self> {
        stream.bind()?;
        let mut handle = null_mut();
        // SAFETY: the handle is written to a place of its type; the card's context is the current one.
        let created = answer(unsafe { (lt.cublasLtCreate)(&mut handle) });
        created.map_err(|status| failed(lt, status, "starting cuBLASLt".to_owned()))?;
        let mut this = Products {
            lt,
            stream,
            handle,
            workspace: 0,
            prepared: HashMap::new(),
        };
        this.workspace = this.stream.allocate(WORKSPACE)?;
        Ok(this)
    }

    /// Puts the product into the stream, or says that the library has no call for it.
    ///
    /// # Safety
    /// The addresses are of blocks as large as the product reads and writes.
    pub(super) unsafe fn run(&mut self, product: &Product) -> Result<bool> {
        let Some(plan) = plan(product) else {
            return Ok(false);
        };
        self.stream.bind()?;
        if !self.prepared.contains_key(&plan) {
            if self.prepared.len() >= PLANS {
                self.prepared.clear();
            }
            let prepared = Prepared::new(self.lt, self.handle, &plan, product.epilogue);
            let prepared = prepared.map_err(|status| self.failed(status, "preparing", product))?;
            self.prepared.insert(plan, prepared);
        }
        let Some(Some(prepared)) = self.prepared.get(&plan) else {
            return Ok(false);
        };
        // SAFETY: as the caller says; the plan is the product's.
        let done = unsafe { self.call(prepared, &plan, product) };
        done.map_err(|status| self.failed(status, "putting into the stream", product))?;
        Ok(true)
    }

    /// # Safety
    /// As for [`run`](Self::run), and the plan is the product's.
    unsafe fn call(&self, prepared: &Prepared, plan: &Plan, product: &Product) -> Answer<()> {
        point(self.lt, &prepared.operation, product.epilogue)?;
        let (one, beta) = (1.0_f64, if plan.accumulate { 1.0_f64 } else { 0.0 });
        let (one_f32, beta_f32) = (1.0_f32, beta as f32);
        // The factors have the type of the sums, and are read before the call returns.
        let factors: [*const c_void; 2] = match plan.sums {
            Sums::F64 => [from_ref(&one).cast(), from_ref(&beta).cast()],
            Sums::F32 | Sums::Tf32 => [from_ref(&one_f32).cast(), from_ref(&beta_f32).cast()],
        };
        let [first, second] = [product.b.at as *const c_void, product.a.at as *const c_void];
        let result = product.c.at as *mut c_void;
        // SAFETY: descriptors that live as long as `prepared`, an algorithm that the library chose for them, addresses of the card that are as large as the
        // caller says, a workspace that only this stream uses, in order.
        answer(unsafe {
            (self.lt.cublasLtMatmul)(
                self.handle,
                prepared.operation.handle,
                factors[0],
                first,
                prepared.first.handle,
                second,
                prepared.second.handle,
                factors[1],
                result,
                prepared.result.handle,
                result,
                prepared.result.handle,
                &prepared.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                self.stream.handle().cast(),
            )
        })
    }

    fn failed(&self, status: Status, doing: &str, product: &Product) -> DriverError {
        let Product {
            m, n, k, batch, a, ..
        } = product;
        let what = format!(
            "{doing} {batch} products ({m}, {k}) x ({k}, {n}) of {}",
            a.dtype
        );
        failed(self.lt, status, what)
    }
}

fn failed(lt: &CublasLt, status: Status, what: String) -> DriverError {
    // SAFETY: it takes any number, and answers with a constant that ends in a zero.
    let text = unsafe { owned((lt.cublasLtGetStatusString)(status)) };
    let text = text.unwrap_or_else(|| "unknown error".to_owned());
    DriverError::Failed {
        what,
        said: format!("{text} (cuBLASLt error {status})"),
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        self.prepared.clear();
        if self.workspace != 0 {
            self.stream.free(self.workspace);
        }
        if self.stream.bind().is_ok() {
            // SAFETY: the handle belongs to this value, which is gone.
            unsafe { (self.lt.cublasLtDestroy)(self.handle) };
        }
    }
}

/// A descriptor of the library's, which ends with this value.
struct Descriptor<H: Copy> {
    handle: H,
    destroy: unsafe extern "C" fn(H) -> Status,
}

impl<H: Copy> Descriptor<H> {
    /// Sets an attribute.
    fn set<A, V>(
        &self,
        set: unsafe extern "C" fn(H, A, *const c_void, usize) -> Status,
        attribute: A,
        value: &V,
    ) -> Answer<()> {
        // SAFETY: the handle is alive; the library copies the value, and refuses sizes that are not the attribute's.
        answer(unsafe {
            set(
                self.handle,
                attribute,
                from_ref(value).cast(),
                size_of::<V>(),
            )
        })
    }
}

impl<H: Copy> Drop for Descriptor<H> {
    fn drop(&mut self) {
        // SAFETY: the handle belongs to this value, which is gone.
        unsafe { (self.destroy)(self.handle) };
    }
}

type Operation = Descriptor<lt::cublasLtMatmulDesc_t>;
type Layout = Descriptor<lt::cublasLtMatrixLayout_t>;

/// A plan in the library's terms, with the algorithm that it chose.
struct Prepared {
    operation: Operation,
    first: Layout,
    second: Layout,
    result: Layout,
    algorithm: lt::cublasLtMatmulAlgo_t,
}

impl Prepared {
    /// `None` if the library has no algorithm.
    fn new(
        lt: &CublasLt,
        handle: lt::cublasLtHandle_t,
        plan: &Plan,
        epilogue: Epilogue,
    ) -> Answer<Option<Self>> {
        let operation = operation(lt, plan)?;
        // Which algorithms are proposed depends on these too.
        point(lt, &operation, epilogue)?;
        let first = layout(lt, plan.dtype, &plan.first, plan.batch)?;
        let second = layout(lt, plan.dtype, &plan.second, plan.batch)?;
        let result = layout(lt, plan.result_dtype, &plan.result, plan.batch)?;
        let preference = preference(lt, plan)?;
        let mut proposals = [const { MaybeUninit::<Proposal>::uninit() }; PROPOSALS];
        let mut count: c_int = 0;
        // SAFETY: descriptors that are alive; room for as many proposals as are asked for, in the library's layout.
        let status = unsafe {
            (lt.cublasLtMatmulAlgoGetHeuristic)(
                handle,
                operation.handle,
                first.handle,
                second.handle,
                result.handle,
                result.handle,
                preference.handle,
                PROPOSALS as c_int,
                proposals.as_mut_ptr().cast(),
                &mut count,
            )
        };
        // What else than a product is asked for need not be known to every version of the library: whatever it says, it can be done apart.
        let fused = !matches!(plan.epilogue, Kind::Plain | Kind::Bias);
        if status == lt::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED as Status
            || (fused && status != 0)
        {
            return Ok(None);
        }
        answer(status)?;
        let written = proposals.iter().take(usize::try_from(count).unwrap_or(0));
        // SAFETY: the library has written as many as it counts.
        let mut written = written.map(|proposal| unsafe { proposal.assume_init_ref() });
        let works = |p: &&Proposal| p.state == 0 && p.workspace <= WORKSPACE;
        Ok(written.find(works).map(|proposal| Prepared {
            operation,
            first,
            second,
            result,
            algorithm: proposal.algorithm,
        }))
    }
}

/// What the library proposes; cudarc's type with a number where it has an enum, which must not hold what a newer library may write there.
#[repr(C)]
struct Proposal {
    algorithm: lt::cublasLtMatmulAlgo_t,
    workspace: usize,
    state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

const _: () = assert!(
    size_of::<Proposal>() == size_of::<lt::cublasLtMatmulHeuristicResult_t>()
        && std::mem::offset_of!(Proposal, state)
            == std::mem::offset_of!(lt::cublasLtMatmulHeuristicResult_t, state)
        && std::mem::offset_of!(Proposal, workspace)
            == std::mem::offset_of!(lt::cublasLtMatmulHeuristicResult_t, workspaceSize)
);

fn operation(lt: &CublasLt, plan: &Plan) -> Answer<Operation> {
    use lt::cublasLtMatmulDescAttributes_t as Attribute;
    let (compute, scale) = match plan.sums {
        Sums::F64 => (
            lt::cublasComputeType_t::CUBLAS_COMPUTE_64F,
            lt::cudaDataType::CUDA_R_64F,
        ),
        Sums::F32 => (
            lt::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            lt::cudaDataType::CUDA_R_32F,
        ),
        Sums::Tf32 => (
            lt::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            lt::cudaDataType::CUDA_R_32F,
        ),
    };
    let mut handle = null_mut();
    // SAFETY: the handle is written to a place of its type.
    answer(unsafe { (lt.cublasLtMatmulDescCreate)(&mut handle, compute, scale) })?;
    let operation = Descriptor {
        handle,
        destroy: lt.cublasLtMatmulDescDestroy,
    };
    let set = lt.cublasLtMatmulDescSetAttribute;
    // cublasOperation_t, which cudarc has with cuBLAS only: 0 takes a matrix as it is, 1 its transpose.
    let taken = |stored: &Stored| c_int::from(stored.transposed);
    operation.set(
        set,
        Attribute::CUBLASLT_MATMUL_DESC_TRANSA,
        &taken(&plan.first),
    )?;
    operation.set(
        set,
        Attribute::CUBLASLT_MATMUL_DESC_TRANSB,
        &taken(&plan.second),
    )?;
    if plan.epilogue != Kind::Plain {
        let epilogue = named(plan.epilogue);
        operation.set(set, Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
    }
    if let Kind::Gelu { .. } | Kind::GeluGradient = plan.epilogue {
        let leading = plan.result.leading as i64;
        operation.set(
            set,
            Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
            &leading,
        )?;
    }
    Ok(operation)
}

/// An epilogue as the library calls it. Rows of ours are columns there, so the sums of our first operand's rows are those of its second's columns.
fn named(epilogue: Kind) -> lt::cublasLtEpilogue_t {
    use lt::cublasLtEpilogue_t as E;
    match epilogue {
        Kind::Plain => E::CUBLASLT_EPILOGUE_DEFAULT,
        Kind::Bias => E::CUBLASLT_EPILOGUE_BIAS,
        Kind::Gelu { bias: false } => E::CUBLASLT_EPILOGUE_GELU_AUX,
        Kind::Gelu { bias: true } => E::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
        Kind::GeluGradient => E::CUBLASLT_EPILOGUE_DGELU,
        Kind::RowSums => E::CUBLASLT_EPILOGUE_BGRADB,
    }
}

/// Tells the library where the vector and the matrix of an epilogue are.
fn point(lt: &CublasLt, operation: &Operation, epilogue: Epilogue) -> Answer<()> {
    use lt::cublasLtMatmulDescAttributes_t as Attribute;
    let [vector, inner] = beside(epilogue);
    for (attribute, at) in [
        (Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector),
        (Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, inner),
    ] {
        if at != 0 {
            operation.set(lt.cublasLtMatmulDescSetAttribute, attribute, &at)?;
        }
    }
    Ok(())
}

fn layout(lt: &CublasLt, dtype: DType, stored: &Stored, batch: i32) -> Answer<Layout> {
    use lt::cublasLtMatrixLayoutAttribute_t as Attribute;
    let dtype = match dtype {
        DType::F64 => lt::cudaDataType::CUDA_R_64F,
        DType::BF16 => lt::cudaDataType::CUDA_R_16BF,
        DType::F16 => lt::cudaDataType::CUDA_R_16F,
        // Plans hold no other type.
        _ => lt::cudaDataType::CUDA_R_32F,
    };
    let (rows, columns) = (stored.rows as u64, stored.columns as u64);
    let mut handle = null_mut();
    // SAFETY: the handle is written to a place of its type.
    answer(unsafe {
        (lt.cublasLtMatrixLayoutCreate)(&mut handle, dtype, rows, columns, stored.leading as i64)
    })?;
    let layout = Descriptor {
        handle,
        destroy: lt.cublasLtMatrixLayoutDestroy,
    };
    if batch > 1 {
        let set = lt.cublasLtMatrixLayoutSetAttribute;
        layout.set(set, Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch)?;
        let stride = stored.batch_stride as i64;
        layout.set(
            set,
            Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
            &stride,
        )?;
    }
    Ok(layout)
}

fn preference(lt: &CublasLt, plan: &Plan) -> Answer<Descriptor<lt::cublasLtMatmulPreference_t>> {
    use lt::cublasLtMatmulPreferenceAttributes_t as Attribute;
    let mut handle = null_mut();
    // SAFETY: the handle is written to a place of its type.
    answer(unsafe { (lt.cublasLtMatmulPreferenceCreate)(&mut handle) })?;
    let preference = Descriptor {
        handle,
        destroy: lt.cublasLtMatmulPreferenceDestroy,
    };
    let set = lt.cublasLtMatmulPreferenceSetAttribute;
    preference.set(
        set,
        Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
        &WORKSPACE,
    )?;
    // No split is always allowed; of the ways to add the parts of one, this alone keeps their order.
    use lt::cublasLtReductionScheme_t as Scheme;
    let reduction = if plan.any_order {
        Scheme::CUBLASLT_REDUCTION_SCHEME_MASK as u32
    } else {
        Scheme::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32
    };
    preference.set(
        set,
        Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        &reduction,
    )?;
    // Unless it is told otherwise, the library counts on 256 bytes.
    for (attribute, stored) in [
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            plan.first,
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            plan.second,
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            plan.result,
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
            plan.result,
        ),
    ] {
        preference.set(set, attribute, &stored.alignment)?;
    }
    Ok(preference)
}

#[cfg(test)]
mod tests;
