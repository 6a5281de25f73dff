// RMS normalisation over contiguous rows: a block for each.

// Reciprocal root mean square of a row.
template <class T> DEVICE Compute<T> scale_of(const T* x, u64 n, f64 eps) {
    typedef Compute<T> C;
    C squares = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) squares += load(x[i]) * load(x[i]);
    return (C)1 / sqrt(block_reduce(squares, Plus()) / (C)n + (C)eps);
}

// dx = r (g w - xhat mean(g w xhat)), with xhat = r x; r goes to `kept`, for the gradient of the weight.
template <class T>
DEVICE void backward(T* dx, Compute<T>* kept, const T* in, const T* weight, const T* grad, u64 rows, u64 n, f64 eps) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T *x = in + row * n, *g = grad + row * n;
        const C scale = scale_of(x, n, eps);
        C b = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) b += load(g[i]) * load(weight[i]) * load(x[i]);
        b = block_reduce(b, Plus()) * scale / (C)n;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x)
            dx[row * n + i] = store<T>((load(g[i]) * load(weight[i]) - load(x[i]) * scale * b) * scale);
        if (threadIdx.x == 0) kept[row] = scale;
    }
}

#define RMS_NORM(suffix, T, _) \
    KERNEL(rms_norm_##suffix, T* out, const T* in, const T* weight, u64 rows, u64 n, f64 eps) { \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) { \
            const Compute<T> scale = scale_of(in + row * n, n, eps); \
            for (u64 i = threadIdx.x; i < n; i += blockDim.x) \
                out[row * n + i] = store<T>(load(in[row * n + i]) * scale * load(weight[i])); \
        } \
    } \
    KERNEL(rms_norm_backward_##suffix, T* dx, Compute<T>* kept, const T* in, const T* weight, const T* grad, u64 rows, u64 n, f64 eps) { \
        backward(dx, kept, in, weight, grad, rows, n, eps); \
    } \
    /* Sums of g xhat over the rows of a stretch: (stretches, n). */ \
    KERNEL(rms_norm_weights_##suffix, Compute<T>* out, const Compute<T>* kept, const T* in, const T* grad, u64 rows, u64 n, \
        u64 stretch) { \
        const u64 first = blockIdx.y * stretch, last = first + stretch < rows ? first + stretch : rows; \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            Compute<T> dw = 0; \
            for (u64 row = first; row < last; row++) dw += load(grad[row * n + i]) * load(in[row * n + i]) * kept[row]; \
            out[blockIdx.y * n + i] = dw; \
        } \
    }
FOR_FLOATS(RMS_NORM, 0)
