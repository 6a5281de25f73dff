// Reading by index, by the width of an element alone.

#define GATHER(bytes, T) \
    /* The first view is the source with the indexed dim left out, the second the index. */ \
    KERNEL(gather_##bytes, T* out, u64 n, Walk<2> walk, const T* in, const i64* index, i64 step, i64 limit, u32 op, Fault* fault) { \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            i64 at[2]; \
            walk.find(i, at); \
            out[i] = in[at[0] + checked(index[at[1]], limit, op, fault) * step]; \
        } \
    } \
    KERNEL(index_select_##bytes, T* out, u64 n, const T* in, const i64* index, u64 count, u64 inner, i64 limit, u32 op, \
        Fault* fault) { \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            const u64 row = i / inner; \
            const u64 from = row / count * limit + checked(index[row % count], limit, op, fault); \
            out[i] = in[from * inner + i % inner]; \
        } \
    }
GATHER(1, u8)
GATHER(2, u16)
GATHER(4, u32)
GATHER(8, u64)
