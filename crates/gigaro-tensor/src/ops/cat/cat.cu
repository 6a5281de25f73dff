// Joining: a view is copied into its place in each row of the result, by the width of an element alone.

#define CAT(bytes, T) \
    KERNEL(cat_##bytes, T* out, u64 n, Walk<1> walk, const T* in, u64 width, u64 row, u64 start) { \
        for (u64 i = first_element(); i < n; i += element_step()) { \
            i64 at[1]; \
            walk.find(i, at); \
            out[i / width * row + start + i % width] = in[at[0]]; \
        } \
    }
CAT(1, u8)
CAT(2, u16)
CAT(4, u32)
CAT(8, u64)
