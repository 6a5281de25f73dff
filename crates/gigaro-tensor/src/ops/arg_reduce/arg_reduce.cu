// Where the largest and smallest values lie: a block for each output.

// NaN comes first, then the better value, then the smaller index.
template <bool LARGEST, class C> DEVICE bool before(C a, i64 at, C b, i64 bt) {
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan != b_nan) return a_nan;
    if (!a_nan && a != b) return LARGEST ? a > b : a < b;
    return at < bt;
}

template <bool LARGEST, class T>
DEVICE void extreme(i64* out, u64 outputs, const Walk<1>& outer, const T* in, u64 n, i64 step) {
    __shared__ Compute<T> values[256];
    __shared__ i64 places[256];
    for (u64 o = blockIdx.x; o < outputs; o += gridDim.x) {
        i64 base[1];
        outer.find(o, base);
        i64 place = threadIdx.x < n ? threadIdx.x : 0;
        Compute<T> best = load(in[base[0] + place * step]);
        for (u64 i = threadIdx.x + blockDim.x; i < n; i += blockDim.x) {
            const Compute<T> value = load(in[base[0] + (i64)i * step]);
            if (before<LARGEST>(value, (i64)i, best, place)) {
                best = value;
                place = (i64)i;
            }
        }
        values[threadIdx.x] = best;
        places[threadIdx.x] = place;
        for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
            __syncthreads();
            const u32 other = threadIdx.x + half;
            if (threadIdx.x < half && before<LARGEST>(values[other], places[other], values[threadIdx.x], places[threadIdx.x])) {
                values[threadIdx.x] = values[other];
                places[threadIdx.x] = places[other];
            }
        }
        if (threadIdx.x == 0) out[o] = places[0];
        __syncthreads();
    }
}

#define EXTREME(suffix, T, name, largest) \
    KERNEL(name##_##suffix, i64* out, u64 outputs, Walk<1> outer, const T* in, u64 n, i64 step) { \
        extreme<largest>(out, outputs, outer, in, n, step); \
    }
FOR_NUMBERS(EXTREME, argmax, true)
FOR_NUMBERS(EXTREME, argmin, false)
