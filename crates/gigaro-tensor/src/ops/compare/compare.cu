// Comparisons and logic: bytes of 0 or 1.

#define COMPARE(name, operator) FOR_NUMBERS(COMPARE_OF, name, operator)
#define COMPARE_OF(suffix, T, name, operator) \
    KERNEL(name##_##suffix, u8* out, u64 n, Walk<2> walk, const T* a, const T* b) { \
        zip(out, n, walk, a, b, [](Compute<T> x, Compute<T> y) { return (i64)(x operator y); }); \
    }

COMPARE(eq, ==)
COMPARE(ne, !=)
COMPARE(lt, <)
COMPARE(le, <=)
COMPARE(gt, >)
COMPARE(ge, >=)

KERNEL(logical_and_u8, u8* out, u64 n, Walk<2> walk, const u8* a, const u8* b) {
    zip(out, n, walk, a, b, [](i64 x, i64 y) { return x & y; });
}
KERNEL(logical_or_u8, u8* out, u64 n, Walk<2> walk, const u8* a, const u8* b) {
    zip(out, n, walk, a, b, [](i64 x, i64 y) { return x | y; });
}
KERNEL(logical_not_u8, u8* out, u64 n, Walk<1> walk, const u8* a) {
    map(out, n, walk, a, [](i64 x) { return x ^ 1; });
}

#define IS_FINITE(suffix, T, _) \
    KERNEL(is_finite_##suffix, u8* out, u64 n, Walk<1> walk, const T* a) { \
        map(out, n, walk, a, [](Compute<T> x) { return (i64)(x - x == 0); }); \
    }
FOR_NUMBERS(IS_FINITE, 0)
