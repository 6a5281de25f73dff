// The order of a contiguous line: a thread for each element counts those that come before it, and that is its place.
//
// Quadratic, and fast enough for lines as long as a vocabulary: nothing is moved, and all threads read the same element at a time.

template <class C> DEVICE bool before(C a, u64 at, C b, u64 bt, bool descending) {
    const bool a_nan = a != a, b_nan = b != b;
    bool less, equal;
    if (a_nan || b_nan) {
        // NaN counts as largest.
        less = !a_nan;
        equal = a_nan && b_nan;
    } else {
        less = a < b;
        equal = a == b;
    }
    if (equal) return at < bt;
    return less != descending;
}

#define ORDER(suffix, T, _) \
    KERNEL(order_##suffix, i64* out, const T* in, u64 elements, u64 n, u64 k, u32 descending) { \
        for (u64 e = first_element(); e < elements; e += element_step()) { \
            const u64 line = e / n, i = e % n; \
            const T* x = in + line * n; \
            const Compute<T> mine = load(x[i]); \
            u64 place = 0; \
            for (u64 j = 0; j < n; j++) place += before(load(x[j]), j, mine, i, descending != 0); \
            if (place < k) out[line * k + place] = (i64)i; \
        } \
    }
FOR_NUMBERS(ORDER, 0)
