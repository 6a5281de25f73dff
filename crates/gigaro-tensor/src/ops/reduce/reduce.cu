// Sums, largest and smallest values.
//
// The elements that make one output are cut into segments, whose length depends on nothing but the shape. A kernel folds a segment; where
// there are several, their results, in the type that is computed with, are folded in turn.

struct Sum : Plus {
    template <class C> static DEVICE C start(C) { return 0; }
};
// A thread without elements repeats one of the others'.
struct Max : Larger {
    template <class C> static DEVICE C start(C some) { return some; }
};
struct Min : Smaller {
    template <class C> static DEVICE C start(C some) { return some; }
};

// A block folds a segment of one output.
template <class F, class R, class T>
DEVICE void rows(R* out, u64 outputs, const Walk<1>& outer, const Walk<1>& inner, const T* in, u64 n, u64 segment) {
    const u64 first = (u64)blockIdx.y * segment, last = first + segment < n ? first + segment : n;
    for (u64 o = blockIdx.x; o < outputs; o += gridDim.x) {
        i64 base[1], at[1];
        outer.find(o, base);
        inner.find(first, at);
        Compute<T> value = F::start(load(in[base[0] + at[0]]));
        for (u64 i = first + threadIdx.x; i < last; i += blockDim.x) {
            inner.find(i, at);
            value = F()(value, load(in[base[0] + at[0]]));
        }
        value = block_reduce(value, F());
        if (threadIdx.x == 0) out[blockIdx.y * outputs + o] = store<R>(value);
    }
}

// A thread folds a segment of one output; its neighbours' elements lie beside its own.
template <class F, class R, class T>
DEVICE void columns(R* out, u64 outputs, const Walk<1>& outer, const Walk<1>& inner, const T* in, u64 n, u64 segment) {
    const u64 first = (u64)blockIdx.y * segment, last = first + segment < n ? first + segment : n;
    for (u64 o = first_element(); o < outputs; o += element_step()) {
        i64 base[1], at[1];
        outer.find(o, base);
        inner.find(first, at);
        Compute<T> value = load(in[base[0] + at[0]]);
        for (u64 i = first + 1; i < last; i++) {
            inner.find(i, at);
            value = F()(value, load(in[base[0] + at[0]]));
        }
        out[blockIdx.y * outputs + o] = store<R>(value);
    }
}

#define REDUCTION(suffix, T, name, F, way) \
    KERNEL(name##_##way##_##suffix, T* out, u64 outputs, Walk<1> outer, Walk<1> inner, const T* in, u64 n, u64 segment) { \
        way<F>(out, outputs, outer, inner, in, n, segment); \
    } \
    KERNEL(name##_##way##_partial_##suffix, Compute<T>* out, u64 outputs, Walk<1> outer, Walk<1> inner, const T* in, u64 n, \
        u64 segment) { \
        way<F>(out, outputs, outer, inner, in, n, segment); \
    }
FOR_NUMBERS(REDUCTION, sum, Sum, rows)
FOR_NUMBERS(REDUCTION, sum, Sum, columns)
FOR_NUMBERS(REDUCTION, max, Max, rows)
FOR_NUMBERS(REDUCTION, max, Max, columns)
FOR_NUMBERS(REDUCTION, min, Min, rows)
FOR_NUMBERS(REDUCTION, min, Min, columns)
