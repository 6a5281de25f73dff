//! What cuBLASLt is told, with a library that writes it down.

use std::cell::RefCell;
use std::ptr::without_provenance_mut;

use super::*;
use crate::device::cuda::driver::Matrix;
use crate::device::cuda::nvidia::{fake, libraries};

#[derive(Default)]
struct Told {
    handles: usize,
    /// Attributes by number, with the first bytes of their values.
    attributes: Vec<(&'static str, u32, u64)>,
    /// Rows, columns, leading dimension.
    layouts: Vec<(u64, u64, i64)>,
    searches: usize,
    /// The operands and the result, and the two factors.
    products: Vec<([u64; 3], [f64; 2])>,
    /// What a search answers.
    search_status: Status,
}

thread_local! {
    static TOLD: RefCell<Told> = RefCell::default();
}

fn told<R>(look: impl FnOnce(&mut Told) -> R) -> R {
    TOLD.with_borrow_mut(look)
}

fn new_handle<T>(place: *mut *mut T) -> Status {
    let number = told(|told| {
        told.handles += 1;
        told.handles
    });
    // SAFETY: the caller passes a place for the handle.
    unsafe { *place = without_provenance_mut(number) };
    0
}

fn old_handle() -> Status {
    told(|told| told.handles -= 1);
    0
}

fn attribute(of: &'static str, number: u32, value: *const c_void, bytes: usize) -> Status {
    let mut first = [0; 8];
    // SAFETY: the caller passes that many bytes.
    unsafe { first.as_mut_ptr().copy_from(value.cast(), bytes) };
    told(|told| {
        told.attributes
            .push((of, number, u64::from_le_bytes(first)))
    });
    0
}

unsafe extern "C" fn create(handle: *mut lt::cublasLtHandle_t) -> Status {
    new_handle(handle)
}
unsafe extern "C" fn destroy(_: lt::cublasLtHandle_t) -> Status {
    old_handle()
}
unsafe extern "C" fn operation_create(
    handle: *mut lt::cublasLtMatmulDesc_t,
    _: lt::cublasComputeType_t,
    _: lt::cudaDataType,
) -> Status {
    new_handle(handle)
}
unsafe extern "C" fn operation_destroy(_: lt::cublasLtMatmulDesc_t) -> Status {
    old_handle()
}
unsafe extern "C" fn operation_set(
    _: lt::cublasLtMatmulDesc_t,
    number: lt::cublasLtMatmulDescAttributes_t,
    value: *const c_void,
    bytes: usize,
) -> Status {
    attribute("operation", number as u32, value, bytes)
}
unsafe extern "C" fn layout_create(
    handle: *mut lt::cublasLtMatrixLayout_t,
    _: lt::cudaDataType,
    rows: u64,
    columns: u64,
    leading: i64,
) -> Status {
    told(|told| told.layouts.push((rows, columns, leading)));
    new_handle(handle)
}
unsafe extern "C" fn layout_destroy(_: lt::cublasLtMatrixLayout_t) -> Status {
    old_handle()
}
unsafe extern "C" fn layout_set(
    _: lt::cublasLtMatrixLayout_t,
    number: lt::cublasLtMatrixLayoutAttribute_t,
    value: *const c_void,
    bytes: usize,
) -> Status {
    attribute("layout", number as u32, value, bytes)
}
unsafe extern "C" fn preference_create(handle: *mut lt::cublasLtMatmulPreference_t) -> Status {
    new_handle(handle)
}
unsafe extern "C" fn preference_destroy(_: lt::cublasLtMatmulPreference_t) -> Status {
    old_handle()
}
unsafe extern "C" fn preference_set(
    _: lt::cublasLtMatmulPreference_t,
    number: lt::cublasLtMatmulPreferenceAttributes_t,
    value: *const c_void,
    bytes: usize,
) -> Status {
    attribute("preference", number as u32, value, bytes)
}
unsafe extern "C" fn search(
    _: lt::cublasLtHandle_t,
    _: lt::cublasLtMatmulDesc_t,
    _: lt::cublasLtMatrixLayout_t,
    _: lt::cublasLtMatrixLayout_t,
    _: lt::cublasLtMatrixLayout_t,
    _: lt::cublasLtMatrixLayout_t,
    _: lt::cublasLtMatmulPreference_t,
    wanted: c_int,
    results: *mut lt::cublasLtMatmulHeuristicResult_t,
    count: *mut c_int,
) -> Status {
    assert!(wanted >= 2);
    // The first does not work, with a number that no enum of today has.
    for (i, state) in [(0, 77), (1, 0)] {
        let proposal = Proposal {
            algorithm: lt::cublasLtMatmulAlgo_t {
                data: [i as u64; 8],
            },
            workspace: 0,
            state,
            waves: 1.0,
            reserved: [0; 4],
        };
        // SAFETY: there is room for as many as are wanted.
        unsafe { results.cast::<Proposal>().add(i).write(proposal) };
    }
    // SAFETY: the caller passes a place for the number.
    unsafe { *count = 2 };
    told(|told| {
        told.searches += 1;
        told.search_status
    })
}
unsafe extern "C" fn multiply(
    _: lt::cublasLtHandle_t,
    _: lt::cublasLtMatmulDesc_t,
    alpha: *const c_void,
    a: *const c_void,
    _: lt::cublasLtMatrixLayout_t,
    b: *const c_void,
    _: lt::cublasLtMatrixLayout_t,
    beta: *const c_void,
    c: *const c_void,
    _: lt::cublasLtMatrixLayout_t,
    d: *mut c_void,
    _: lt::cublasLtMatrixLayout_t,
    algorithm: *const lt::cublasLtMatmulAlgo_t,
    workspace: *mut c_void,
    bytes: usize,
    _: lt::cudaStream_t,
) -> Status {
    assert!(c == d.cast_const() && !workspace.is_null() && bytes == WORKSPACE);
    // SAFETY: the caller passes an algorithm and two factors, of f32 in these tests.
    let (algorithm, factors) = unsafe { (*algorithm, [*alpha.cast::<f32>(), *beta.cast::<f32>()]) };
    assert_eq!(algorithm.data, [1; 8], "not the proposal that works");
    told(|told| {
        told.products
            .push(([a as u64, b as u64, c as u64], factors.map(f64::from)))
    });
    0
}

fn products() -> Products {
    let library = CublasLt {
        cublasLtCreate: create,
        cublasLtDestroy: destroy,
        cublasLtMatmulDescCreate: operation_create,
        cublasLtMatmulDescDestroy: operation_destroy,
        cublasLtMatmulDescSetAttribute: operation_set,
        cublasLtMatrixLayoutCreate: layout_create,
        cublasLtMatrixLayoutDestroy: layout_destroy,
        cublasLtMatrixLayoutSetAttribute: layout_set,
        cublasLtMatmulPreferenceCreate: preference_create,
        cublasLtMatmulPreferenceDestroy: preference_destroy,
        cublasLtMatmulPreferenceSetAttribute: preference_set,
        cublasLtMatmulAlgoGetHeuristic: search,
        cublasLtMatmul: multiply,
        ..CublasLt::refusing()
    };
    Products::new(Box::leak(Box::new(library)), fake::stream()).unwrap()
}

/// (2, 4) x (4, 3), the second by columns.
fn product() -> Product {
    let matrix = |at, row_stride, column_stride| Matrix {
        at,
        dtype: DType::F32,
        row_stride,
        column_stride,
        batch_stride: 0,
    };
    Product {
        m: 2,
        n: 3,
        k: 4,
        batch: 1,
        a: matrix(0x100, 4, 1),
        b: matrix(0x200, 1, 4),
        c: matrix(0x300, 3, 1),
        epilogue: Epilogue::Plain,
        tf32: false,
        any_order: false,
        accumulate: false,
    }
}

fn run(products: &mut Products, product: &Product) -> Result<bool> {
    // SAFETY: the library writes down what it is told and reads no memory.
    unsafe { products.run(product) }
}

#[test]
fn a_product_is_searched_once_and_told_with_its_own_addresses_each_time() {
    let mut products = products();
    let first = product();
    let mut second = product();
    (second.a.at, second.b.at, second.c.at) = (0x1100, 0x1200, 0x1300);
    assert_eq!(run(&mut products, &first), Ok(true));
    assert_eq!(run(&mut products, &second), Ok(true));
    told(|told| {
        assert_eq!(told.searches, 1);
        // By columns, and with the operands in the other order.
        assert_eq!(told.layouts, [(4, 3, 4), (4, 2, 4), (3, 2, 3)]);
        let want = [
            ([0x200, 0x100, 0x300], [1.0, 0.0]),
            ([0x1200, 0x1100, 0x1300], [1.0, 0.0]),
        ];
        assert_eq!(told.products, want);
        let has = |of, number, value| told.attributes.contains(&(of, number, value));
        // The first operand (TRANSA, 3) lies by columns and is turned, the second (TRANSB, 4) is not.
        assert!(has("operation", 3, 1) && has("operation", 4, 0));
        // Split sums are added in their own type alone (REDUCTION_SCHEME_MASK, 3), in the memory that there is (1).
        assert!(has("preference", 3, 2) && has("preference", 1, WORKSPACE as u64));
        // Alignments of 256 (5 to 8), and no batch.
        assert!((5..=8).all(|number| has("preference", number, 256)));
        assert!(told.attributes.iter().all(|(of, ..)| *of != "layout"));
    });
    drop(products);
    assert_eq!(told(|told| told.handles), 0);
    assert_eq!(fake::with(|state| state.blocks()), 0);
}

#[test]
fn sums_in_any_order_are_another_plan() {
    let mut products = products();
    let mut product = product();
    assert_eq!(run(&mut products, &product), Ok(true));
    product.any_order = true;
    assert_eq!(run(&mut products, &product), Ok(true));
    told(|told| {
        assert_eq!(told.searches, 2);
        let has = |value| told.attributes.contains(&("preference", 3, value));
        // REDUCTION_SCHEME_MASK: the type of the sums alone, then in place and in the type of the result too.
        assert!(has(2) && has(7));
    });
}

#[test]
fn bias_batch_and_accumulation_are_told() {
    let mut products = products();
    let mut product = product();
    (product.epilogue, product.accumulate, product.batch) = (Epilogue::Bias(0x500), true, 5);
    (product.a.batch_stride, product.c.batch_stride) = (8, 6);
    assert_eq!(run(&mut products, &product), Ok(true));
    product.epilogue = Epilogue::Bias(0x700);
    assert_eq!(run(&mut products, &product), Ok(true));
    told(|told| {
        assert_eq!((told.searches, told.products.len()), (1, 2));
        assert_eq!(told.products[0].1, [1.0, 1.0]);
        let values = |of: &str, number| -> Vec<u64> {
            let all = told
                .attributes
                .iter()
                .filter(|a| a.0 == of && a.1 == number);
            all.map(|a| a.2).collect()
        };
        // EPILOGUE is BIAS; its pointer is set for the search and before each product.
        assert_eq!(values("operation", 7), [4]);
        assert_eq!(values("operation", 8), [0x500, 0x500, 0x700]);
        // BATCH_COUNT and STRIDED_BATCH_OFFSET of the three matrices.
        assert_eq!(values("layout", 5), [5, 5, 5]);
        assert_eq!(values("layout", 6), [0, 8, 6]);
    });
}

/// All epilogues that do more than add a bias.
fn fused() -> [Epilogue; 4] {
    let inner = 0x8000;
    let gelu = |bias| Epilogue::Gelu { bias, inner };
    [
        gelu(None),
        gelu(Some(0x500)),
        Epilogue::GeluGradient { inner },
        Epilogue::RowSums(0x500),
    ]
}

/// (2, 4) x (4, 8) in bf16.
fn whole(epilogue: Epilogue) -> Product {
    let mut product = product();
    (product.n, product.c.row_stride, product.epilogue) = (8, 8, epilogue);
    for matrix in [&mut product.a, &mut product.b, &mut product.c] {
        matrix.dtype = DType::BF16;
    }
    product
}

fn described(lt: &CublasLt, product: &Product) -> Answer<()> {
    let plan = plan(product).unwrap();
    let operation = operation(lt, &plan)?;
    point(lt, &operation, product.epilogue)
}

#[test]
fn what_is_done_with_a_product_is_told_with_its_vector_and_its_matrix() {
    let mut products = products();
    // GELU_AUX, GELU_AUX_BIAS, DGELU, BGRADB.
    for (epilogue, number) in fused().into_iter().zip([160, 164, 192, 512]) {
        told(|told| told.attributes.clear());
        assert_eq!(run(&mut products, &whole(epilogue)), Ok(true));
        told(|told| {
            let has = |number, value| told.attributes.contains(&("operation", number, value));
            let [vector, inner] = beside(epilogue);
            // EPILOGUE, BIAS_POINTER, EPILOGUE_AUX_POINTER and its leading dimension.
            assert!(has(7, number), "{epilogue:?}");
            assert_eq!(has(8, 0x500), vector != 0, "{epilogue:?}");
            assert_eq!(has(11, 0x8000) && has(12, 8), inner != 0, "{epilogue:?}");
        });
    }
    // One that the library does not know is done apart, whatever it answers.
    told(|told| told.search_status = lt::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE as Status);
    let mut other = whole(fused()[1]);
    other.m = 4;
    assert_eq!(run(&mut products, &other), Ok(false));
}

#[test]
fn where_the_library_has_no_algorithm_a_kernel_is_asked_for_and_other_answers_are_errors() {
    let mut products = products();
    told(|told| told.search_status = lt::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED as Status);
    assert_eq!(run(&mut products, &product()), Ok(false));
    told(|told| told.search_status = lt::cublasStatus_t::CUBLAS_STATUS_INTERNAL_ERROR as Status);
    assert_eq!(
        run(&mut products, &product()),
        Ok(false),
        "it was remembered"
    );
    let mut other = product();
    other.tf32 = true;
    let sentence = run(&mut products, &other).unwrap_err().to_string();
    assert!(
        sentence.contains("(2, 4) x (4, 3)") && sentence.contains("error 14"),
        "{sentence}"
    );
    // Neither its rows nor its columns are dense: nothing is asked.
    let mut strided = product();
    strided.a.column_stride = 2;
    assert_eq!(run(&mut products, &strided), Ok(false));
    assert_eq!(told(|told| (told.searches, told.products.len())), (2, 0));
}

#[test]
fn the_library_itself_takes_every_description_of_a_product() {
    // Descriptions need no card; what they are of does.
    let lt = match libraries::products() {
        Ok(library) => &library.functions,
        Err(sentence) => {
            println!(
                "skipped 1 test, the_library_itself_takes_every_description_of_a_product: {sentence}"
            );
            return;
        }
    };
    let types = [
        (DType::F64, DType::F64),
        (DType::F32, DType::F32),
        (DType::BF16, DType::BF16),
        (DType::BF16, DType::F32),
        (DType::F16, DType::F32),
    ];
    for (dtype, result) in types {
        for tf32 in [false, true] {
            let mut product = product();
            (product.a.dtype, product.b.dtype, product.c.dtype) = (dtype, dtype, result);
            (
                product.batch,
                product.a.batch_stride,
                product.c.batch_stride,
            ) = (3, 8, 6);
            (product.tf32, product.epilogue) = (tf32, Epilogue::Bias(0x500));
            let plan = plan(&product).unwrap();
            assert_eq!(described(lt, &product), Ok(()), "{plan:?}");
            for (dtype, stored) in [
                (dtype, plan.first),
                (dtype, plan.second),
                (result, plan.result),
            ] {
                assert_eq!(
                    layout(lt, dtype, &stored, plan.batch).err(),
                    None,
                    "{plan:?}"
                );
            }
            assert_eq!(preference(lt, &plan).err(), None, "{plan:?}");
        }
    }
    for epilogue in fused() {
        assert_eq!(described(lt, &whole(epilogue)), Ok(()), "{epilogue:?}");
    }
    let wrong = operation(lt, &plan(&product()).unwrap()).ok().unwrap();
    let number = lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
    // It looks at sizes: one that is wrong is refused.
    let refused = wrong.set(lt.cublasLtMatmulDescSetAttribute, number, &0_u8);
    assert_eq!(
        refused,
        Err(lt::cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE as Status)
    );
}
