// Rotary position embedding: a thread for each pair of channels of a contiguous (B, T, H, D).

#define ROTARY(suffix, T, _) \
    KERNEL(rotary_embedding_##suffix, T* out, const T* in, const f32* cosines, const f32* sines, u64 pairs, u64 times, u64 heads, \
        u64 half, f32 sign) { \
        typedef Compute<T> C; \
        for (u64 p = first_element(); p < pairs; p += element_step()) { \
            const u64 row = p / half, i = p % half; \
            const u64 at = row / heads % times * half + i; \
            const C c = cosines[at], s = sines[at] * sign; \
            const u64 low = row * 2 * half + i, high = low + half; \
            const C a = load(in[low]), b = load(in[high]); \
            out[low] = store<T>(a * c - b * s); \
            out[high] = store<T>(b * c + a * s); \
        } \
    }
FOR_FLOATS(ROTARY, 0)
