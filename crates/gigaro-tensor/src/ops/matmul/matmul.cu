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
