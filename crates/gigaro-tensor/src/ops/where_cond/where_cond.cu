// Choosing between two elements, by the width of an element alone.

#define WHERE(bytes, T) \
    KERNEL(where_##bytes, T* out, u64 n, Walk<3> walk, const u8* condition, const T* a, const T* b) { \
        walk_over(n, walk, [&](u64 i, const i64 (&at)[3]) { out[i] = condition[at[0]] ? a[at[1]] : b[at[2]]; }); \
    }
WHERE(1, u8)
WHERE(2, u16)
WHERE(4, u32)
WHERE(8, u64)
