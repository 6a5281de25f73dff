// Conversion between dtypes, and copies into row-major order.

// A float becomes an integer as on the processor: truncated, limited to what the type holds, and 0 for NaN.
template <class T> struct Limits;
template <> struct Limits<u8> {
    static DEVICE f64 low() { return 0; }
    static DEVICE f64 high() { return 255; }
};
template <> struct Limits<i32> {
    static DEVICE f64 low() { return -2147483648.0; }
    static DEVICE f64 high() { return 2147483647.0; }
};
template <> struct Limits<i64> {
    static DEVICE f64 low() { return -9223372036854775808.0; }
    static DEVICE f64 high() { return 9223372036854775808.0; }
};

template <class T> struct Converted {
    template <class C> static DEVICE T from(C x) { return Stored<T>::of(x); }
    static DEVICE T from(i64 x) { return Stored<T>::of((f64)x); }
};
template <class T> struct Truncated {
    static DEVICE T from(f64 x) {
        if (x != x) return 0;
        if (x <= Limits<T>::low()) return (T)Limits<T>::low();
        // The largest i64 is no float; what is not below it is that number.
        if (x >= Limits<T>::high()) return (T)(((u64)1 << (8 * sizeof(T) - (sizeof(T) > 1))) - 1);
        return (T)x;
    }
    static DEVICE T from(f32 x) { return from((f64)x); }
    // Through a float, as on the processor.
    static DEVICE T from(i64 x) { return from((f64)x); }
};
template <> struct Converted<u8> : Truncated<u8> {};
template <> struct Converted<i32> : Truncated<i32> {};
template <> struct Converted<i64> : Truncated<i64> {};

#define FROM(suffix, S, target, T) \
    KERNEL(suffix##_to_##target, T* out, u64 n, Walk<1> walk, const S* in) { \
        map_stored(out, n, walk, in, [](S x) { return Converted<T>::from(load(x)); }); \
    }
FOR_NUMBERS(FROM, f64, f64)
FOR_NUMBERS(FROM, f32, f32)
FOR_NUMBERS(FROM, bf16, bf16)
FOR_NUMBERS(FROM, f16, f16)
FOR_NUMBERS(FROM, i64, i64)
FOR_NUMBERS(FROM, i32, i32)
FOR_NUMBERS(FROM, u8, u8)

#define TO_BOOL(suffix, S, _) \
    KERNEL(suffix##_to_bool, u8* out, u64 n, Walk<1> walk, const S* in) { \
        map(out, n, walk, in, [](Compute<S> x) { return (i64)(x != 0); }); \
    }
FOR_NUMBERS(TO_BOOL, 0)

// Copies by the width of an element alone.
#define COPY(bytes, T) \
    KERNEL(copy_##bytes, T* out, u64 n, Walk<1> walk, const T* in) { \
        map_stored(out, n, walk, in, [](T x) { return x; }); \
    }
COPY(1, u8)
COPY(2, u16)
COPY(4, u32)
COPY(8, u64)

#define FILL(bytes, T) \
    KERNEL(fill_##bytes, T* out, u64 n, u64 bits) { \
        for (u64 i = first_element(); i < n; i += element_step()) out[i] = (T)bits; \
    }
FILL(1, u8)
FILL(2, u16)
FILL(4, u32)
FILL(8, u64)

// start, start + step, ..; two roundings, as on the processor.
#define ARANGE(suffix, T, _) \
    KERNEL(arange_##suffix, T* out, u64 n, f64 start, f64 step) { \
        for (u64 i = first_element(); i < n; i += element_step()) \
            out[i] = Converted<T>::from(__dadd_rn(start, __dmul_rn(step, (f64)i))); \
    }
FOR_NUMBERS(ARANGE, 0)
