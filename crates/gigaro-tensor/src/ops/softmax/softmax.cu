// Softmax and its logarithm over contiguous rows: a block for each.

template <bool LOG, class T> DEVICE void forward(T* out, const T* in, u64 rows, u64 n) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* x = in + row * n;
        C top = -infinity<C>();
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) top = Larger()(top, load(x[i]));
        top = block_reduce(top, Larger());
        C sum = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) sum += exp(load(x[i]) - top);
        sum = block_reduce(sum, Plus());
        const C shift = top + log(sum);
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C value = load(x[i]);
            out[row * n + i] = store<T>(LOG ? value - shift : exp(value - top) / sum);
        }
    }
}

// y (g - sum(g y)), or g - exp(y) sum(g) for the logarithm.
template <bool LOG, class T> DEVICE void backward(T* out, const T* output, const T* grad, u64 rows, u64 n) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T *y = output + row * n, *g = grad + row * n;
        C sum = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) sum += LOG ? load(g[i]) : load(y[i]) * load(g[i]);
        sum = block_reduce(sum, Plus());
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C value = load(y[i]), slope = load(g[i]);
            out[row * n + i] = store<T>(LOG ? slope - exp(value) * sum : value * (slope - sum));
        }
    }
}

#define SOFTMAX(suffix, T, name, is_log) \
    KERNEL(name##_##suffix, T* out, const T* in, u64 rows, u64 n) { forward<is_log>(out, in, rows, n); } \
    KERNEL(name##_backward_##suffix, T* out, const T* output, const T* grad, u64 rows, u64 n) { \
        backward<is_log>(out, output, grad, rows, n); \
    }
FOR_FLOATS(SOFTMAX, softmax, false)
FOR_FLOATS(SOFTMAX, log_softmax, true)
