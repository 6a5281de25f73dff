// Matrix products of any strides: the plain kernel, for what the vendor's library does not do, and where there is none.
//
// A block makes a tile of 64 by 64, a thread 4 by 4 of it; sums run over k in order, in the type that is computed with.

const int TILE = 64, DEPTH = 16, PATCH = 4;

// Strides in elements; the walk finds where the matrices of a batch begin.
struct Strides {
    i64 a_row, a_column, b_row, b_column;
};

template <class R, class T>
DEVICE void product(R* out, const T* a, const T* b, const R* bias, u64 m, u64 n, u64 k, u64 batches, const Walk<2>& batch, Strides s) {
    typedef Compute<T> C;
    __shared__ C left[DEPTH][TILE + 1];
    __shared__ C right[DEPTH][TILE + 1];
    const u32 row = threadIdx.x / 16 * PATCH, column = threadIdx.x % 16 * PATCH;
    const u64 top = (u64)blockIdx.y * TILE, edge = (u64)blockIdx.x * TILE;
    for (u64 z = blockIdx.z; z < batches; z += gridDim.z) {
        i64 from[2];
        batch.find(z, from);
        C sum[PATCH][PATCH] = {};
        for (u64 depth = 0; depth < k; depth += DEPTH) {
            for (u32 e = threadIdx.x; e < TILE * DEPTH; e += blockDim.x) {
                // Neighbouring threads read along the stride that is 1, if one is.
                const u32 ai = s.a_column == 1 ? e / DEPTH : e % TILE, ak = s.a_column == 1 ? e % DEPTH : e / TILE;
                const u32 bj = s.b_column == 1 ? e % TILE : e / DEPTH, bk = s.b_column == 1 ? e / TILE : e % DEPTH;
                left[ak][ai] = top + ai < m && depth + ak < k
                    ? load(a[from[0] + (i64)(top + ai) * s.a_row + (i64)(depth + ak) * s.a_column]) : (C)0;
                right[bk][bj] = edge + bj < n && depth + bk < k
                    ? load(b[from[1] + (i64)(depth + bk) * s.b_row + (i64)(edge + bj) * s.b_column]) : (C)0;
            }
            __syncthreads();
            for (int d = 0; d < DEPTH; d++) {
                C x[PATCH], y[PATCH];
                for (int i = 0; i < PATCH; i++) {
                    x[i] = left[d][row + i];
                    y[i] = right[d][column + i];
                }
                for (int i = 0; i < PATCH; i++)
                    for (int j = 0; j < PATCH; j++) sum[i][j] += x[i] * y[j];
            }
            __syncthreads();
        }
        for (int i = 0; i < PATCH; i++)
            for (int j = 0; j < PATCH; j++) {
                const u64 r = top + row + i, c = edge + column + j;
                if (r < m && c < n) {
                    const C value = bias ? sum[i][j] + load(bias[c]) : sum[i][j];
                    out[(z * m + r) * n + c] = store<R>(value);
                }
            }
    }
}

#define MATMUL(suffix, T, result, R) \
    KERNEL(matmul_##suffix##_##result, R* out, const T* a, const T* b, const R* bias, u64 m, u64 n, u64 k, u64 batches, Walk<2> batch, \
        Strides strides) { \
        product(out, a, b, bias, m, n, k, batches, batch, strides); \
    }
MATMUL(f64, f64, f64, f64)
MATMUL(f32, f32, f32, f32)
MATMUL(bf16, bf16, bf16, bf16)
MATMUL(bf16, bf16, f32, f32)
MATMUL(f16, f16, f16, f16)
MATMUL(f16, f16, f32, f32)
MATMUL(i64, i64, i64, i64)
MATMUL(i32, i32, i32, i32)

// ---- few rows, as a decoding step has them

// M rows times a matrix that lies by columns, such as the weight of a linear layer: a warp for each column of the result, which is read once for all
// rows. Columns and rows begin at multiples of four elements.
template <u32 M, class R, class X, class W>
DEVICE void few_rows(R* out, const X* x, const W* w, const W* bias, u64 n, u64 k, u64 x_step, u64 w_step) {
    const u32 lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (u64 c = (u64)blockIdx.x * warps + threadIdx.x / 32; c < n; c += (u64)gridDim.x * warps) {
        const W* column = w + c * w_step;
        f32 sum[M] = {};
        for (u64 i = 4 * lane; i < k; i += 128) {
            const Four<W> factors = four(column + i);
            for (u32 m = 0; m < M; m++) {
                const Four<X> row = four(x + m * x_step + i);
                for (int j = 0; j < 4; j++) sum[m] += load(row.of[j]) * load(factors.of[j]);
            }
        }
        for (u32 m = 0; m < M; m++) sum[m] = warp_reduce(sum[m], Plus());
        const f32 shift = bias ? load(bias[c]) : 0.0f;
        if (lane == 0)
            for (u32 m = 0; m < M; m++) out[m * n + c] = store<R>(sum[m] + shift);
    }
}

#define FEW_ROWS(M, X, W, R) \
    KERNEL(few_rows_##M##_##X##_##W##_##R, R* out, const X* x, const W* w, const W* bias, u64 n, u64 k, u64 x_step, u64 w_step) { \
        few_rows<M>(out, x, w, bias, n, k, x_step, w_step); \
    }
#define FEW_ROWS_FROM(M, X, W) FEW_ROWS(M, X, W, f32) FEW_ROWS(M, X, W, bf16)
#define FEW_ROWS_OF(M) \
    FEW_ROWS_FROM(M, f32, f32) FEW_ROWS_FROM(M, f32, bf16) FEW_ROWS_FROM(M, bf16, f32) FEW_ROWS_FROM(M, bf16, bf16)
FEW_ROWS_OF(1)
FEW_ROWS_OF(2)
FEW_ROWS_OF(3)
FEW_ROWS_OF(4)
