// RMS normalisation over contiguous rows: a block for each.

// Reciprocal root mean square of a row.
template <class T> DEVICE Compute<T> scale_of(const T* x, u64 n, f64 eps) {
    typedef Compute<T> C;
    C squares = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) squares += load(x[i]) * load(x[i]);
    return (C)1 / sqrt(block_reduce(squares, Plus()) / (C)n + (C)eps);
}

// dx = r (g w - xhat mean(g w xhat)), with xhat = r x; r goes to `kept`, for the gradient of the weight.
template <class T, class O>
DEVICE void backward(T* dx, Compute<T>* kept, const T* in, const Compute<T>* weight, const O* grad, u64 rows, u64 n, f64 eps) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* x = in + row * n;
        const O* g = grad + row * n;
        const C scale = scale_of(x, n, eps);
        C b = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) b += load(g[i]) * weight[i] * load(x[i]);
        b = block_reduce(b, Plus()) * scale / (C)n;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x)
            dx[row * n + i] = store<T>((load(g[i]) * weight[i] - load(x[i]) * scale * b) * scale);
        if (threadIdx.x == 0) kept[row] = scale;
    }
}

// From `T` to `O`; weights are in what it is computed in.
#define RMS_NORM(from, T, to, O) \
    KERNEL(rms_norm_##from##_##to, O* out, const T* in, const Compute<T>* weight, u64 rows, u64 n, f64 eps) { \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) { \
            const Compute<T> scale = scale_of(in + row * n, n, eps); \
            for (u64 i = threadIdx.x; i < n; i += blockDim.x) \
                out[row * n + i] = store<O>(load(in[row * n + i]) * scale * weight[i]); \
        } \
    } \
    KERNEL(rms_norm_backward_##from##_##to, T* dx, Compute<T>* kept, const T* in, const Compute<T>* weight, const O* grad, u64 rows, \
        u64 n, f64 eps) { \
        backward(dx, kept, in, weight, grad, rows, n, eps); \
    } \
    /* Sums of g xhat over the rows of a stretch: (stretches, n). */ \
    KERNEL(rms_norm_weights_##from##_##to, Compute<T>* out, const Compute<T>* kept, const T* in, const O* grad, u64 rows, u64 n, \
        u64 stretch) { \
        const u64 first = blockIdx.y * stretch, last = first + stretch < rows ? first + stretch : rows; \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            Compute<T> dw = 0; \
            for (u64 row = first; row < last; row++) dw += load(grad[row * n + i]) * load(in[row * n + i]) * kept[row]; \
            out[blockIdx.y * n + i] = dw; \
        } \
    }
#define ALIKE(suffix, T, _) RMS_NORM(suffix, T, suffix, T)
FOR_FLOATS(ALIKE, 0)
RMS_NORM(f32, f32, bf16, bf16)
