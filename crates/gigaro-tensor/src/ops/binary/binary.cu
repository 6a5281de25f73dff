// Arithmetic of two elements.

// Integers truncate, and a zero divisor gives zero instead of a trap.
DEVICE f32 quotient(f32 x, f32 y) { return x / y; }
DEVICE f64 quotient(f64 x, f64 y) { return x / y; }
DEVICE i64 quotient(i64 x, i64 y) {
    // The one quotient that does not fit wraps, as a product would.
    return y == 0 ? 0 : y == -1 ? (i64)(0 - (u64)x) : x / y;
}

#define BINARY(name, formula) FOR_NUMBERS(BINARY_OF, name, formula)
#define BINARY_OF(suffix, T, name, formula) \
    KERNEL(name##_##suffix, T* out, u64 n, Walk<2> walk, const T* a, const T* b) { \
        zip(out, n, walk, a, b, [](Compute<T> x, Compute<T> y) { return formula; }); \
    }

BINARY(add, x + y)
// A result of the inside of a network, in bf16, onto what passes by it.
KERNEL(add_f32_bf16, f32* out, u64 n, Walk<2> walk, const f32* a, const bf16* b) {
    zip(out, n, walk, a, b, [](f32 x, f32 y) { return x + y; });
}
BINARY(sub, x - y)
BINARY(mul, x * y)
BINARY(div, quotient(x, y))
BINARY(maximum, Larger()(x, y))
BINARY(minimum, Smaller()(x, y))

// ---- changes in place: x[i] = f(x[i], y[i]), where x is a view too

#define IN_PLACE(name, formula) FOR_NUMBERS(IN_PLACE_OF, name, formula)
#define IN_PLACE_OF(suffix, T, name, formula) \
    KERNEL(name##_##suffix, T* target, u64 n, Walk<2> walk, const T* source) { \
        const auto change = [](Compute<T> x, Compute<T> y) { (void)x; return formula; }; \
        if (walk.dense(0)) { \
            zip(target, n, walk, target, source, change); \
            return; \
        } \
        walk_over(n, walk, [&](u64, const i64 (&at)[2]) { \
            target[at[0]] = store<T>(change(load(target[at[0]]), load(source[at[1]]))); \
        }); \
    }

IN_PLACE(copy_, y)
IN_PLACE(add_, x + y)
IN_PLACE(mul_, x * y)
