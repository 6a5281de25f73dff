// Keys and values in pages on a card. A page holds, layer by layer, the keys of all heads and then their values, (heads, tokens, channels) each.

const u32 PAGE_TOKENS = 128, MOST_CHANNELS = 256;

// A token of a call: the page it is written to and its place there, where the pages of its text begin in the list, and how many keys it sees.
struct Token {
    u64 page;
    i64 slot, first, seen;
};
// Heads of queries and of keys, channels, and bytes from the start of a page to the layer.
struct Shape {
    u32 h, h_kv, d;
    u64 layer;
};

template <class T> DEVICE T* row_of(u64 page, const Shape& n, u32 head, i64 slot, bool value) {
    T* layer = reinterpret_cast<T*>(page + n.layer) + (value ? (u64)n.h_kv * PAGE_TOKENS * n.d : 0);
    return layer + ((u64)head * PAGE_TOKENS + slot) * n.d;
}

// A thread for each key channel of each token.
template <class T, class S> DEVICE void write(const Token* tokens, u64 elements, const S* k, const S* v, Shape n) {
    for (u64 i = first_element(); i < elements; i += element_step()) {
        const u32 c = i % n.d, head = i / n.d % n.h_kv;
        const Token token = tokens[i / n.d / n.h_kv];
        row_of<T>(token.page, n, head, token.slot, false)[c] = store<T>(load(k[i]));
        row_of<T>(token.page, n, head, token.slot, true)[c] = store<T>(load(v[i]));
    }
}

// A block for each token and head: its warps take stretches of keys in turn, a lane some channels, and what they have is joined in their order.
template <class T, class S> DEVICE void attend(S* out, const S* q, const Token* tokens, const u64* pages, f32 scale, Shape n) {
    // A page holds whole stretches.
    const u32 WARPS = 16, STRETCH = 4, PER_LANE = MOST_CHANNELS / 32;
    __shared__ f32 tops[WARPS], totals[WARPS], sums[WARPS][MOST_CHANNELS];
    const u32 head = blockIdx.y, kv_head = head / (n.h / n.h_kv), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const Token token = tokens[blockIdx.x];
    const u64 row = ((u64)blockIdx.x * n.h + head) * n.d;
    f32 query[PER_LANE], sum[PER_LANE] = {}, top = -infinity<f32>(), total = 0;
    for (u32 j = 0; j < PER_LANE; j++) query[j] = lane + 32 * j < n.d ? load(q[row + lane + 32 * j]) * scale : 0.0f;
    for (i64 first = warp * STRETCH; first < token.seen; first += WARPS * STRETCH) {
        const u64 page = pages[token.first + first / PAGE_TOKENS];
        const T* keys = row_of<T>(page, n, kv_head, first % PAGE_TOKENS, false);
        const T* values = row_of<T>(page, n, kv_head, first % PAGE_TOKENS, true);
        // Keys that are not seen are in the page all the same.
        f32 scores[STRETCH], peak = top;
        for (u32 i = 0; i < STRETCH; i++) {
            scores[i] = 0;
            for (u32 j = 0; j < PER_LANE; j++)
                if (lane + 32 * j < n.d) scores[i] += query[j] * load(keys[i * n.d + lane + 32 * j]);
        }
        for (u32 i = 0; i < STRETCH; i++) {
            scores[i] = warp_reduce(scores[i], Plus());
            if (first + i >= token.seen) scores[i] = -infinity<f32>();
            peak = Larger()(scores[i], peak);
        }
        const f32 shrink = exp(top - peak);
        total *= shrink;
        for (u32 j = 0; j < PER_LANE; j++) sum[j] *= shrink;
        for (u32 i = 0; i < STRETCH; i++) {
            const f32 weight = exp(scores[i] - peak);
            total += weight;
            // What lies behind the last key may be no number.
            if (weight == 0) continue;
            for (u32 j = 0; j < PER_LANE; j++)
                if (lane + 32 * j < n.d) sum[j] += weight * load(values[i * n.d + lane + 32 * j]);
        }
        top = peak;
    }
    for (u32 j = 0; j < PER_LANE; j++) sums[warp][lane + 32 * j] = sum[j];
    if (lane == 0) {
        tops[warp] = top;
        totals[warp] = total;
    }
    __syncthreads();
    f32 peak = tops[0], all = 0;
    for (u32 w = 1; w < WARPS; w++) peak = Larger()(tops[w], peak);
    // The first warp has seen a key: every token sees itself.
    for (u32 w = 0; w < WARPS; w++) all += totals[w] * exp(tops[w] - peak);
    for (u32 c = threadIdx.x; c < n.d; c += blockDim.x) {
        f32 value = 0;
        for (u32 w = 0; w < WARPS; w++) value += sums[w][c] * exp(tops[w] - peak);
        out[row + c] = store<S>(value / all);
    }
}

// Pages of `T`, for a call in `S`.
#define PAGED(suffix, T, of, S) \
    KERNEL(write_##suffix##_##of, const Token* tokens, u64 elements, const S* k, const S* v, Shape n) { \
        write<T>(tokens, elements, k, v, n); \
    } \
    KERNEL_OF(512, attend_##suffix##_##of, S* out, const S* q, const Token* tokens, const u64* pages, f32 scale, Shape n) { \
        attend<T>(out, q, tokens, pages, scale, n); \
    }
PAGED(f32, f32, f32, f32)
PAGED(bf16, bf16, f32, f32)
PAGED(bf16, bf16, bf16, bf16)
