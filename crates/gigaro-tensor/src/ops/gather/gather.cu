// Reading by index, by the width of an element alone.

// Rows of `inner` elements each, `count` of them for each row of the dims before.
template <class I, class T>
DEVICE void select_rows(T* out, u64 n, const T* in, const i64* index, u64 count, u64 inner, i64 limit, u32 op, Fault* fault) {
    for (u64 i = first_element(); i < n; i += element_step()) {
        const I row = (I)i / (I)inner, column = (I)i - row * (I)inner, before = row / (I)count;
        const u64 from = (u64)before * limit + checked(index[row - before * (I)count], limit, op, fault);
        out[i] = in[from * inner + column];
    }
}

#define GATHER(bytes, T) \
    /* The first view is the source with the indexed dim left out, the second the index. */ \
    KERNEL(gather_##bytes, T* out, u64 n, Walk<2> walk, const T* in, const i64* index, i64 step, i64 limit, u32 op, Fault* fault) { \
        walk_over(n, walk, [&](u64 i, const i64 (&at)[2]) { \
            out[i] = in[at[0] + checked(index[at[1]], limit, op, fault) * step]; \
        }); \
    } \
    KERNEL(index_select_##bytes, T* out, u64 n, const T* in, const i64* index, u64 count, u64 inner, i64 limit, u32 op, \
        Fault* fault) { \
        if (n >> 32) select_rows<u64>(out, n, in, index, count, inner, limit, op, fault); \
        else if (inner % 4 == 0 && fours(out) && fours(in)) \
            select_rows<u32>(&four(out), n / 4, &four(in), index, count, inner / 4, limit, op, fault); \
        else select_rows<u32>(out, n, in, index, count, inner, limit, op, fault); \
    }
GATHER(1, u8)
GATHER(2, u16)
GATHER(4, u32)
GATHER(8, u64)
