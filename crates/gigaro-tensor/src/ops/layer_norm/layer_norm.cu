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
template <class T>
DEVICE void backward(T* dx, Compute<T>* kept, const T* in, const T* weight, const T* grad, u64 rows, u64 n, f64 eps) {
    typedef Compute<T> C;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T *x = in + row * n, *g = grad + row * n;
        C mean, rstd;
        statistics(x, n, eps, mean, rstd);
        C a = 0, b = 0;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C gw = load(g[i]) * load(weight[i]);
            a += gw;
            b += gw * (load(x[i]) - mean);
        }
        a = block_reduce(a, Plus()) / (C)n;
        b = block_reduce(b, Plus()) * rstd / (C)n;
        for (u64 i = threadIdx.x; i < n; i += blockDim.x) {
            const C xhat = (load(x[i]) - mean) * rstd;
            dx[row * n + i] = store<T>((load(g[i]) * load(weight[i]) - a - xhat * b) * rstd);
        }
        if (threadIdx.x == 0) {
            kept[2 * row] = mean;
            kept[2 * row + 1] = rstd;
        }
    }
}

// Sums of g xhat and of g over the rows of a stretch, side by side: (stretches, 2, n).
template <class T>
DEVICE void weight_gradients(Compute<T>* out, const Compute<T>* kept, const T* in, const T* grad, u64 rows, u64 n, u64 stretch) {
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

#define LAYER_NORM(suffix, T, _) \
    KERNEL(layer_norm_##suffix, T* out, const T* in, const T* weight, const T* bias, u64 rows, u64 n, f64 eps) { \
        for (u64 row = blockIdx.x; row < rows; row += gridDim.x) { \
            Compute<T> mean, rstd; \
            statistics(in + row * n, n, eps, mean, rstd); \
            for (u64 i = threadIdx.x; i < n; i += blockDim.x) \
                out[row * n + i] = store<T>((load(in[row * n + i]) - mean) * rstd * load(weight[i]) + load(bias[i])); \
        } \
    } \
    KERNEL(layer_norm_backward_##suffix, T* dx, Compute<T>* kept, const T* in, const T* weight, const T* grad, u64 rows, u64 n, \
        f64 eps) { \
        backward(dx, kept, in, weight, grad, rows, n, eps); \
    } \
    KERNEL(layer_norm_weights_##suffix, Compute<T>* out, const Compute<T>* kept, const T* in, const T* grad, u64 rows, u64 n, \
        u64 stretch) { \
        weight_gradients(out, kept, in, grad, rows, n, stretch); \
    }
FOR_FLOATS(LAYER_NORM, 0)
