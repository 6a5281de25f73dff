// Running sums of a contiguous tensor: a thread for each line.

#define CUMSUM(suffix, T, _) \
    KERNEL(cumsum_##suffix, T* out, const T* in, u64 lines, u64 n, u64 inner, u32 reverse) { \
        for (u64 line = first_element(); line < lines; line += element_step()) { \
            const u64 start = line / inner * n * inner + line % inner; \
            Compute<T> sum = 0; \
            for (u64 i = 0; i < n; i++) { \
                const u64 at = start + inner * (reverse ? n - 1 - i : i); \
                sum += load(in[at]); \
                out[at] = store<T>(sum); \
            } \
        } \
    }
FOR_NUMBERS(CUMSUM, 0)
