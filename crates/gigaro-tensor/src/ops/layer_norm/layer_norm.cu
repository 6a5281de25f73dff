// Layer normalisation over contiguous rows: a block for each.

// Mean and reciprocal standard deviation of a row.
template <class T> DEVICE void statistics(const T* x, u64 n, f64 eps, Compute<T>& mean, Compute<T>& rstd) {
    typedef Compute<T> C;
    C sum = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) sum += load(x[i]);
    mean = block_reduce(sum, Plus()) / (C)n;
    C squares = 0;
    for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
        const C centred = load(x[i]) - mean;
        squares += centred * centred;
    }
    rstd = (C)1 / sqrt(block_reduce(squares, Plus()) / (C)n + (C)eps);
}

// dx = rstd (g w - mean(g w) - xhat mean(g w xhat)); the statistics go to `kept`, for the gradients of weight and bias.
template <class T, class O>
DEVICE void backward(T* dx, Compute<T>* kept, const T* in, const Compute<T>* weight, const O* grad, u64 rows, u64 n, f64 eps) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* x = in + row * n;
        const O* g = grad + row * n;
        C mean, rstd;
        statistics(x, n, eps, mean, rstd);
        C a = 0, b = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C gw = load(g[i]) * weight[i];
            a += gw;
            b += gw * (load(x[i]) - mean);
        }
        a = block_reduce(a, Plus()) / (C)n;
        b = block_reduce(b, Plus()) * rstd / (C)n;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C xhat = (load(x[i]) - mean) * rstd;
            dx[row * n + i] = store<T>((load(g[i]) * weight[i] - a - xhat * b) * rstd);
        }
        if (threadIdx.x == 0) {
            kept[2 * row] = mean;
            kept[2 * row + 1] = rstd;
        }
    }
}

// Sums of g xhat and of g over the rows of a stretch, side by side: (stretches, 2, n).
template <class T, class O>
DEVICE void weight_gradients(Compute<T>* out, const Compute<T>* kept, const T* in, const O* grad, u64 rows, u64 n, u64 stretch) {
    typedef Compute<T> C;
    const u64 first = blockIdx.y * stretch, last = first + stretch < rows ? first + stretch : rows;
    for (u64 i = first_element(); i < n; i += element_step()) {
        C dw = 0, db = 0;
        for (u64 row = first; row < last; row++) {
            const C g = load(grad[row * n + i]);
            dw += g * (load(in[row * n + i]) - kept[2 * row]) * kept[2 * row + 1];
            db += g;
        }
        out[(2 * blockIdx.y) * n + i] = dw;
        out[(2 * blockIdx.y + 1) * n + i] = db;
    }
}

// From `T` to `O`; weights are in what it is computed in.
#define LAYER_NORM(from, T, to, O) \
    KERNEL(layer_norm_##from##_##to, O* out, const T* in, const Compute<T>* weight, const Compute<T>* bias, u64 rows, u64 n, f64 eps) { \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) { \
            Compute<T> mean, rstd; \
            statistics(in + row * n, n, eps, mean, rstd); \
            for (u64 i = threadIdx.x; i < n; i += blockDim.x) \
                out[row * n + i] = store<O>((load(in[row * n + i]) - mean) * rstd * weight[i] + bias[i]); \
        } \
    } \
    KERNEL(layer_norm_backward_##from##_##to, T* dx, Compute<T>* kept, const T* in, const Compute<T>* weight, const O* grad, u64 rows, \
        u64 n, f64 eps) { \
        backward(dx, kept, in, weight, grad, rows, n, eps); \
    } \
    KERNEL(layer_norm_weights_##from##_##to, Compute<T>* out, const Compute<T>* kept, const T* in, const O* grad, u64 rows, u64 n, \
        u64 stretch) { \
        weight_gradients(out, kept, in, grad, rows, n, stretch); \
    }
#define ALIKE(suffix, T, _) LAYER_NORM(suffix, T, suffix, T)
FOR_FLOATS(ALIKE, 0)
LAYER_NORM(f32, f32, bf16, bf16)
