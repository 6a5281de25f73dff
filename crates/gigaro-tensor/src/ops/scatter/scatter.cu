// Writing by index. What goes to one place is written by one thread, in order, so that repeated indices have one result.

// A thread for each line along the indexed dim; the views are those of target and source (and index) with that dim left out.
template <bool ADD, class T>
DEVICE void scatter_lines(T* out, u64 lines, const Walk<2>& walk, const i64* index, const T* source, i64 count, i64 step, i64 source_step,
    i64 limit, u32 op, Fault* fault) {
    for (u64 line = first_element(); line < lines; line += element_step()) {
        i64 at[2];
        walk.find(line, at);
        for (i64 j = 0; j < count; j++) {
            const i64 from = at[1] + j * source_step;
            T* target = out + at[0] + checked(index[from], limit, op, fault) * step;
            *target = ADD ? store<T>(load(*target) + load(source[from])) : source[from];
        }
    }
}

// A block for each slice of the result: it looks for its number among the indices, in order, and adds the slices of the source that have it.
template <class T>
DEVICE void add_slices(T* out, u64 slices, const i64* index, const T* source, u64 count, u64 inner, i64 limit, u32 op, Fault* fault) {
    __shared__ u8 hit[256];
    for (u64 slice = blockIdx.x; slice < slices; slice += gridDim.x) {
        const u64 outer = slice / limit, mine = slice % limit;
        for (u64 first = 0; first < count; first += blockDim.x) {
            const u64 j = first + threadIdx.x;
            const bool found = j < count && (u64)checked(index[j], limit, op, fault) == mine;
            hit[threadIdx.x] = found;
            if (!block_reduce((i32)found, Larger())) continue;
            const u64 here = count - first < blockDim.x ? count - first : blockDim.x;
            for (u64 k = 0; k < here; k++) {
                if (!hit[k]) continue;
                const T* from = source + (outer * count + first + k) * inner;
                for (u64 c = threadIdx.x; c < inner; c += blockDim.x)
                    out[slice * inner + c] = store<T>(load(out[slice * inner + c]) + load(from[c]));
            }
            __syncthreads();
        }
    }
}

#define SCATTER(suffix, T, _) \
    KERNEL(scatter_##suffix, T* out, u64 lines, Walk<2> walk, const i64* index, const T* source, i64 count, i64 step, \
        i64 source_step, i64 limit, u32 op, Fault* fault) { \
        scatter_lines<false>(out, lines, walk, index, source, count, step, source_step, limit, op, fault); \
    } \
    KERNEL(scatter_add_##suffix, T* out, u64 lines, Walk<2> walk, const i64* index, const T* source, i64 count, i64 step, \
        i64 source_step, i64 limit, u32 op, Fault* fault) { \
        scatter_lines<true>(out, lines, walk, index, source, count, step, source_step, limit, op, fault); \
    } \
    KERNEL(index_add_##suffix, T* out, u64 slices, const i64* index, const T* source, u64 count, u64 inner, i64 limit, u32 op, \
        Fault* fault) { \
        add_slices(out, slices, index, source, count, inner, limit, op, fault); \
    }
FOR_NUMBERS(SCATTER, 0)
