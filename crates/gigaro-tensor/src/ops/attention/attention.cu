// Attention without its matrix of scores (Dao et al. 2022), in two ways: in plain arithmetic, a thread for each row, and, further down, in
// bf16 on tensor cores (Dao 2023).
//
// In the plain way a block takes as many neighbouring rows as it has threads, and walks over the others in tiles of as many, which it keeps in shared memory;
// what belongs to a row lies there too, one column for each thread, so that no two threads meet in a bank.

// How many there are: batches, heads of queries, heads of keys, queries, keys, channels.
struct Sizes {
    u32 b, h, h_kv, t, s, d;
};
// Elements from one batch, head and row to the next; channels lie side by side.
struct Steps {
    i64 b, h, t;
    DEVICE i64 row(u32 batch, u32 head, u32 row) const { return batch * b + head * h + row * t; }
};
// What scores are multiplied with, whether a query sees only what is not behind it, and what is added (an address of 0: nothing).
struct Rule {
    f64 scale;
    u32 causal;
    const f32* mask;
    i64 mask_steps[4];

    // How many keys a query sees at most: the last one sees all.
    DEVICE u32 visible(const Sizes& n, u32 query) const {
        if (!causal) return n.s;
        const i64 seen = (i64)query + 1 + n.s - n.t;
        return seen < 0 ? 0 : (u32)seen;
    }
    template <class C> DEVICE C score(C product, u32 batch, u32 head, u32 query, u32 key) const {
        C x = product * (C)scale;
        if (mask) x += mask[batch * mask_steps[0] + head * mask_steps[1] + query * mask_steps[2] + key * mask_steps[3]];
        return x;
    }
};

// Copies rows `first ..` of one head to shared memory, row by row; those behind the last are zeros.
template <class C>
DEVICE void take_tile(C* tile, const C* x, const Steps& steps, u32 batch, u32 head, u32 first, u32 rows, u32 d) {
    const u32 width = blockDim.x;
    for (u32 e = threadIdx.x; e < width * d; e += width) {
        const u32 row = e / d, c = e % d;
        tile[e] = first + row < rows ? x[steps.row(batch, head, first + row) + c] : (C)0;
    }
}
// A thread's own row, a column of shared memory.
template <class C> DEVICE void take_row(C* mine, const C* x, u32 d) {
    for (u32 c = 0; c < d; c++) mine[c * blockDim.x] = x[c];
}
template <class C> DEVICE C dot(const C* mine, const C* row, u32 d) {
    C sum = 0;
    for (u32 c = 0; c < d; c++) sum += mine[c * blockDim.x] * row[c];
    return sum;
}

const u32 MOST_ROWS = 32;

template <class C>
DEVICE void forward(C* out, C* lse, const C* q, const C* k, const C* v, Sizes n, Steps out_steps, Steps q_steps, Steps k_steps,
    Steps v_steps, Rule rule) {
    DYNAMIC_SHARED(C, shared);
    const u32 width = blockDim.x, head = blockIdx.y, batch = blockIdx.z, kv_head = head / (n.h / n.h_kv);
    const u32 query = blockIdx.x * width + threadIdx.x;
    const bool there = query < n.t;
    C *query_row = shared + threadIdx.x, *sum_row = query_row + n.d * width;
    C *keys = shared + 2 * n.d * width, *values = keys + n.d * width;
    if (there) take_row(query_row, q + q_steps.row(batch, head, query), n.d);
    for (u32 c = 0; c < n.d; c++) sum_row[c * width] = 0;
    const u32 seen = there ? rule.visible(n, query) : 0;
    // The last query of the block sees most.
    const u32 last = blockIdx.x * width + width - 1, most = rule.visible(n, last < n.t ? last : n.t - 1);
    C top = -infinity<C>(), total = 0;
    for (u32 first = 0; first < most; first += width) {
        take_tile(keys, k, k_steps, batch, kv_head, first, n.s, n.d);
        take_tile(values, v, v_steps, batch, kv_head, first, n.s, n.d);
        __syncthreads();
        C scores[MOST_ROWS];
        C peak = top;
        const u32 here = seen > first ? (seen - first < width ? seen - first : width) : 0;
        for (u32 j = 0; j < here; j++) {
            scores[j] = rule.score(dot(query_row, keys + j * n.d, n.d), batch, head, query, first + j);
            peak = Larger()(scores[j], peak);
        }
        // Nothing that counts yet: minus infinity less minus infinity is no number.
        if (peak != -infinity<C>()) {
            const C shrink = exp(top - peak);
            total *= shrink;
            for (u32 c = 0; c < n.d; c++) sum_row[c * width] *= shrink;
            for (u32 j = 0; j < here; j++) {
                const C weight = exp(scores[j] - peak);
                total += weight;
                const C* value = values + j * n.d;
                for (u32 c = 0; c < n.d; c++) sum_row[c * width] += weight * value[c];
            }
            top = peak;
        }
        __syncthreads();
    }
    if (!there) return;
    // A query that sees nothing gets zeros.
    const C inverse = total == 0 ? (C)0 : (C)1 / total;
    C* row = out + out_steps.row(batch, head, query);
    for (u32 c = 0; c < n.d; c++) row[c] = sum_row[c * width] * inverse;
    lse[((u64)batch * n.h + head) * n.t + query] = total == 0 ? -infinity<C>() : top + log(total);
}

// The weight that a query gave a key.
template <class C> DEVICE C weight_of(C score, C lse) { return lse == -infinity<C>() ? (C)0 : exp(score - lse); }

// Gradients of queries; what each query's output and its gradient have in common goes to `shares`, for the gradients of keys and values.
template <class C>
DEVICE void query_gradients(C* dq, C* shares, const C* q, const C* k, const C* v, const C* out, const C* grad, const C* lse, Sizes n,
    Steps dq_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps out_steps, Steps grad_steps, Rule rule) {
    DYNAMIC_SHARED(C, shared);
    const u32 width = blockDim.x, head = blockIdx.y, batch = blockIdx.z, kv_head = head / (n.h / n.h_kv);
    const u32 query = blockIdx.x * width + threadIdx.x;
    const bool there = query < n.t;
    C *query_row = shared + threadIdx.x, *grad_row = query_row + n.d * width, *sum_row = grad_row + n.d * width;
    C *keys = shared + 3 * n.d * width, *values = keys + n.d * width;
    const u64 place = ((u64)batch * n.h + head) * n.t + query;
    C share = 0, total = 0;
    for (u32 c = 0; c < n.d; c++) sum_row[c * width] = 0;
    if (there) {
        take_row(query_row, q + q_steps.row(batch, head, query), n.d);
        take_row(grad_row, grad + grad_steps.row(batch, head, query), n.d);
        share = dot(grad_row, out + out_steps.row(batch, head, query), n.d);
        shares[place] = share;
        total = lse[place];
    }
    const u32 seen = there ? rule.visible(n, query) : 0;
    const u32 last = blockIdx.x * width + width - 1, most = rule.visible(n, last < n.t ? last : n.t - 1);
    for (u32 first = 0; first < most; first += width) {
        take_tile(keys, k, k_steps, batch, kv_head, first, n.s, n.d);
        take_tile(values, v, v_steps, batch, kv_head, first, n.s, n.d);
        __syncthreads();
        for (u32 j = 0; j < width && first + j < seen; j++) {
            const C* key = keys + j * n.d;
            const C weight = weight_of(rule.score(dot(query_row, key, n.d), batch, head, query, first + j), total);
            const C slope = weight * (dot(grad_row, values + j * n.d, n.d) - share) * (C)rule.scale;
            for (u32 c = 0; c < n.d; c++) sum_row[c * width] += slope * key[c];
        }
        __syncthreads();
    }
    if (!there) return;
    C* row = dq + dq_steps.row(batch, head, query);
    for (u32 c = 0; c < n.d; c++) row[c] = sum_row[c * width];
}

// Gradients of keys and values: a thread for each key, which walks over the queries of all heads that share it, in order.
template <class C>
DEVICE void key_gradients(C* dk, C* dv, const C* shares, const C* q, const C* k, const C* v, const C* grad, const C* lse, Sizes n,
    Steps dk_steps, Steps dv_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps grad_steps, Rule rule) {
    DYNAMIC_SHARED(C, shared);
    const u32 width = blockDim.x, kv_head = blockIdx.y, batch = blockIdx.z, group = n.h / n.h_kv;
    const u32 key = blockIdx.x * width + threadIdx.x;
    const bool there = key < n.s;
    C *key_row = shared + threadIdx.x, *value_row = key_row + n.d * width;
    C *key_sum = value_row + n.d * width, *value_sum = key_sum + n.d * width;
    C *queries = shared + 4 * n.d * width, *grads = queries + n.d * width;
    if (there) {
        take_row(key_row, k + k_steps.row(batch, kv_head, key), n.d);
        take_row(value_row, v + v_steps.row(batch, kv_head, key), n.d);
    }
    for (u32 c = 0; c < n.d; c++) key_sum[c * width] = value_sum[c * width] = 0;
    for (u32 head = kv_head * group; head < (kv_head + 1) * group; head++) {
        const u64 places = ((u64)batch * n.h + head) * n.t;
        for (u32 first = 0; first < n.t; first += width) {
            take_tile(queries, q, q_steps, batch, head, first, n.t, n.d);
            take_tile(grads, grad, grad_steps, batch, head, first, n.t, n.d);
            __syncthreads();
            for (u32 i = 0; i < width && first + i < n.t; i++) {
                const u32 query = first + i;
                if (!there || key >= rule.visible(n, query)) continue;
                const C *row = queries + i * n.d, *slope_row = grads + i * n.d;
                const C weight = weight_of(rule.score(dot(key_row, row, n.d), batch, head, query, key), lse[places + query]);
                const C slope = weight * (dot(value_row, slope_row, n.d) - shares[places + query]) * (C)rule.scale;
                for (u32 c = 0; c < n.d; c++) {
                    value_sum[c * width] += weight * slope_row[c];
                    key_sum[c * width] += slope * row[c];
                }
            }
            __syncthreads();
        }
    }
    if (!there) return;
    C *dk_row = dk + dk_steps.row(batch, kv_head, key), *dv_row = dv + dv_steps.row(batch, kv_head, key);
    for (u32 c = 0; c < n.d; c++) {
        dk_row[c] = key_sum[c * width];
        dv_row[c] = value_sum[c * width];
    }
}

#define ATTENTION(C) \
    KERNEL(forward_##C, C* out, C* lse, const C* q, const C* k, const C* v, Sizes n, Steps out_steps, Steps q_steps, Steps k_steps, \
        Steps v_steps, Rule rule) { \
        forward(out, lse, q, k, v, n, out_steps, q_steps, k_steps, v_steps, rule); \
    } \
    KERNEL(query_gradients_##C, C* dq, C* shares, const C* q, const C* k, const C* v, const C* out, const C* grad, const C* lse, Sizes n, \
        Steps dq_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps out_steps, Steps grad_steps, Rule rule) { \
        query_gradients(dq, shares, q, k, v, out, grad, lse, n, dq_steps, q_steps, k_steps, v_steps, out_steps, grad_steps, rule); \
    } \
    KERNEL(key_gradients_##C, C* dk, C* dv, const C* shares, const C* q, const C* k, const C* v, const C* grad, const C* lse, Sizes n, \
        Steps dk_steps, Steps dv_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps grad_steps, Rule rule) { \
        key_gradients(dk, dv, shares, q, k, v, grad, lse, n, dk_steps, dv_steps, q_steps, k_steps, v_steps, grad_steps, rule); \
    }
ATTENTION(f32)
ATTENTION(f64)

// ---- on tensor cores
//
// A warp has 16 rows in registers and walks over the others in tiles, which its block of four warps keeps in shared memory as bf16. The next tile is on
// its way while one is computed with. Rows have 8 numbers to spare, so that eight of them, which a warp reads at once, meet no bank twice.
// D is a multiple of 16 not below the number of channels; those behind it are zeros. Sums, weights and scores are f32; powers are of 2, which cards
// have an instruction for. Gradients of queries and of keys are two walks, each of which makes the scores again: nothing is added by two blocks, and
// every run gives the same bits.

const u32 ROWS = 64, SPARE = 8, FLASH_THREADS = 128;
const f32 LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

// A tile of R rows in shared memory.
template <u32 D> struct Tile {
    static const u32 STRIDE = D + SPARE;
    static constexpr DEVICE u32 size(u32 rows) { return rows * STRIDE; }
};

DEVICE bf16 narrow(f32 x) { return store<bf16>(x); }
DEVICE bf16 narrow(bf16 x) { return x; }
DEVICE u32 pair_of(bf16 low, bf16 high) { return (u32)low.bits | (u32)high.bits << 16; }

// Rows of a head that are read into tiles.
template <class T> struct Source {
    const T* at;
    Steps steps;
    u32 rows, d;
    // Whether 16 bytes can be copied at a time.
    bool whole;

    DEVICE Source(const T* x, const Steps& all, u32 batch, u32 head, u32 number, u32 channels, u32 computed)
        : at(x + batch * all.b + head * all.h), steps(all), rows(number), d(channels) {
        whole = sizeof(T) == 2 && d == computed && all.t % 8 == 0 && (u64)at % 16 == 0;
    }
    DEVICE const T* row(u32 r) const { return at + (i64)r * steps.t; }
    DEVICE bf16 number(u32 r, u32 c) const { return r < rows && c < d ? narrow(row(r)[c]) : bf16{0}; }
};

// Asks for rows `first ..` in a tile; those behind the last are zeros. They are there after `await_copies` and a barrier.
template <u32 D, u32 R, class T> DEVICE void take(bf16* tile, const Source<T>& x, u32 first) {
    if (x.whole) {
        const u32 parts = D / 8;
        for (u32 e = threadIdx.x; e < R * parts; e += FLASH_THREADS) {
            const u32 row = e / parts, c = e % parts * 8;
            const bool there = first + row < x.rows;
            copy_ahead(tile + row * Tile<D>::STRIDE + c, x.row(there ? first + row : 0) + c, there);
        }
        return;
    }
    // Not unrolled further: its addresses would take registers that sums need.
#pragma unroll 4
    for (u32 e = threadIdx.x; e < R * D; e += FLASH_THREADS)
        tile[e / D * Tile<D>::STRIDE + e % D] = x.number(first + e / D, e % D);
}

// The same for keys and values, a tile of each in a stage. (The walk over tiles around it stands in two kernels: as a function that is given what to do with
// a tile, it took up to 46 registers more, and spilled.)
template <u32 D, class T> DEVICE void take_both(bf16* stage, const Source<T>& keys, const Source<T>& values, u32 first) {
    take<D, ROWS>(stage, keys, first);
    take<D, ROWS>(stage + Tile<D>::size(ROWS), values, first);
    end_copies();
}

// The fragments of a warp's own 16 rows, straight from memory.
template <u32 D, class T> DEVICE void own_rows(u32 (&a)[D / 16][4], const Source<T>& x, u32 first) {
    const u32 group = threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
    for (u32 k = 0; k < D / 16; k++)
        for (u32 i = 0; i < 4; i++) {
            const u32 row = first + group + i % 2 * 8, c = k * 16 + pair * 2 + i / 2 * 8;
            a[k][i] = pair_of(x.number(row, c), x.number(row, c + 1));
        }
}

// (16, R) products of a warp's rows with those of a tile, over channels; `row(k)` gives channels 16 k .. of its rows.
template <u32 D, u32 R, u32 UNROLLED, class F> DEVICE void over_channels_of(f32 (&sum)[R / 8][4], const bf16* tile, F row) {
    const u32 lane = threadIdx.x % 32;
    const bf16* at = tile + (lane / 16 * 8 + lane % 8) * Tile<D>::STRIDE + lane / 8 % 2 * 8;
    for (u32 n = 0; n < R / 8; n++)
        for (u32 i = 0; i < 4; i++) sum[n][i] = 0;
#pragma unroll UNROLLED
    for (u32 k = 0; k < D / 16; k++) {
        u32 a[4];
        row(k, a);
#pragma unroll
        for (u32 n = 0; n < R / 8; n += 2) {
            u32 both[4];
            load_matrices(both, at + n * 8 * Tile<D>::STRIDE + k * 16);
            const u32 low[2] = {both[0], both[1]}, high[2] = {both[2], both[3]};
            multiply(sum[n], a, low);
            multiply(sum[n + 1], a, high);
        }
    }
}
template <u32 D, u32 R> DEVICE void over_channels(f32 (&sum)[R / 8][4], const u32 (&own)[D / 16][4], const bf16* tile) {
    over_channels_of<D, R, D / 16>(sum, tile, [&own](u32 k, u32(&a)[4]) {
        for (u32 i = 0; i < 4; i++) a[i] = own[k][i];
    });
}
// The same for rows that lie in shared memory, where registers do not suffice.
template <u32 D, u32 R> DEVICE void over_channels(f32 (&sum)[R / 8][4], const bf16* own, const bf16* tile) {
    const u32 lane = threadIdx.x % 32;
    const bf16* at = own + (lane / 8 % 2 * 8 + lane % 8) * Tile<D>::STRIDE + lane / 16 * 8;
    over_channels_of<D, R, 2>(sum, tile, [at](u32 k, u32(&a)[4]) { load_matrices(a, at + k * 16); });
}

// Adds (16, D) products of a warp's weights with the rows of a tile, over those rows.
template <u32 D, u32 R> DEVICE void over_rows(f32 (&sum)[D / 8][4], const f32 (&weights)[R / 8][4], const bf16* tile) {
    const u32 lane = threadIdx.x % 32;
    const bf16* at = tile + (lane / 8 % 2 * 8 + lane % 8) * Tile<D>::STRIDE + lane / 16 * 8;
#pragma unroll
    for (u32 k = 0; k < R / 16; k++) {
        const f32(&low)[4] = weights[2 * k], (&high)[4] = weights[2 * k + 1];
        const u32 a[4] = {pack(low[0], low[1]), pack(low[2], low[3]), pack(high[0], high[1]), pack(high[2], high[3])};
#pragma unroll
        for (u32 n = 0; n < D / 8; n += 2) {
            u32 both[4];
            load_matrices_turned(both, at + k * 16 * Tile<D>::STRIDE + n * 8);
            const u32 left[2] = {both[0], both[1]}, right[2] = {both[2], both[3]};
            multiply(sum[n], a, left);
            multiply(sum[n + 1], a, right);
        }
    }
}

// Writes a warp's (16, D) sums, row i times `factors[i]`.
template <u32 D, class T>
DEVICE void put_rows(T* out, const Steps& steps, u32 batch, u32 head, u32 first, u32 rows, u32 d, const f32 (&sum)[D / 8][4],
    const f32 (&factors)[2]) {
    const u32 group = threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
    for (u32 n = 0; n < D / 8; n++)
        for (u32 i = 0; i < 4; i++) {
            const u32 row = first + group + i / 2 * 8, c = n * 8 + pair * 2 + i % 2;
            if (row < rows && c < d) out[steps.row(batch, head, row) + c] = store<T>(sum[n][i] * factors[i / 2]);
        }
}

// Joins what the four threads of a row have.
template <class F> DEVICE f32 over_row(f32 value, F join) {
    value = join(value, __shfl_xor_sync(0xffffffffu, value, 1));
    return join(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

// Products of a block's queries with a tile of keys, as scores in powers of 2.
struct Scores {
    const Rule& rule;
    const Sizes& n;
    u32 batch, head;
    f32 scale;

    DEVICE Scores(const Rule& r, const Sizes& sizes, u32 b, u32 h)
        : rule(r), n(sizes), batch(b), head(h), scale((f32)(r.scale * 1.4426950408889634)) {}
    // Whether all of these queries see all of these keys, and nothing is added.
    DEVICE bool plain(u32 first_query, u32 keys_end) const {
        return !rule.mask && keys_end <= n.s && first_query < n.t && keys_end <= rule.visible(n, first_query);
    }
    DEVICE f32 of(f32 product, u32 query, u32 key) const {
        if (query >= n.t || key >= n.s || key >= rule.visible(n, query)) return -infinity<f32>();
        return rule.mask ? rule.score(product, batch, head, query, key) * LOG2_E : product * scale;
    }
};

// Causal blocks of the last queries have most to do; they begin first.
DEVICE u32 block_of_queries() { return gridDim.x - 1 - blockIdx.x; }

template <u32 D, class T>
DEVICE void flash_forward(T* out, f32* lse, const T* q, const T* k, const T* v, Sizes n, Steps out_steps, Steps q_steps,
    Steps k_steps, Steps v_steps, Rule rule) {
    DYNAMIC_SHARED(bf16, shared);
    const u32 size = Tile<D>::size(ROWS), head = blockIdx.y, batch = blockIdx.z, kv_head = head / (n.h / n.h_kv);
    const u32 begin = block_of_queries() * ROWS, first = begin + threadIdx.x / 32 * 16;
    const u32 group = threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
    const Source<T> keys(k, k_steps, batch, kv_head, n.s, n.d, D), values(v, v_steps, batch, kv_head, n.s, n.d, D);
    const Scores score(rule, n, batch, head);
    u32 own[D / 16][4];
    own_rows<D>(own, Source<T>(q, q_steps, batch, head, n.t, n.d, D), first);
    f32 sum[D / 8][4] = {}, top[2] = {-infinity<f32>(), -infinity<f32>()}, total[2] = {};
    const u32 last = begin + ROWS - 1, most = rule.visible(n, last < n.t ? last : n.t - 1);
    // Two stages of keys and values.
    take_both<D>(shared, keys, values, 0);
    for (u32 tile = 0, stage = 0; tile < most; tile += ROWS, stage ^= 1) {
        const bf16* here = shared + stage * 2 * size;
        if (tile + ROWS < most) take_both<D>(shared + (stage ^ 1) * 2 * size, keys, values, tile + ROWS);
        else end_copies();
        await_copies<1>();
        __syncthreads();
        f32 scores[ROWS / 8][4];
        over_channels<D, ROWS>(scores, own, here);
        const bool plain = score.plain(begin, tile + ROWS);
        f32 peak[2] = {top[0], top[1]};
        for (u32 m = 0; m < ROWS / 8; m++)
            for (u32 i = 0; i < 4; i++) {
                scores[m][i] = plain ? scores[m][i] * score.scale
                                     : score.of(scores[m][i], first + group + i / 2 * 8, tile + m * 8 + pair * 2 + i % 2);
                peak[i / 2] = Larger()(scores[m][i], peak[i / 2]);
            }
        f32 shrink[2], base[2];
        for (u32 r = 0; r < 2; r++) {
            peak[r] = over_row(peak[r], Larger());
            // Nothing that counts yet: minus infinity less minus infinity is no number.
            base[r] = peak[r] == -infinity<f32>() ? 0.0f : peak[r];
            shrink[r] = power_of_two(top[r] - base[r]);
            total[r] *= shrink[r];
            top[r] = peak[r];
        }
        for (u32 m = 0; m < ROWS / 8; m++)
            for (u32 i = 0; i < 4; i++) {
                scores[m][i] = power_of_two(scores[m][i] - base[i / 2]);
                total[i / 2] += scores[m][i];
            }
        for (u32 m = 0; m < D / 8; m++)
            for (u32 i = 0; i < 4; i++) sum[m][i] *= shrink[i / 2];
        over_rows<D, ROWS>(sum, scores, here + size);
        // Before the next tile but one takes this one's place.
        __syncthreads();
    }
    f32 inverse[2];
    for (u32 r = 0; r < 2; r++) {
        total[r] = over_row(total[r], Plus());
        // A query that sees nothing gets zeros.
        inverse[r] = total[r] == 0 ? 0.0f : 1.0f / total[r];
        const u32 query = first + group + r * 8;
        if (pair == 0 && query < n.t)
            lse[((u64)batch * n.h + head) * n.t + query] = total[r] == 0 ? -infinity<f32>() : top[r] * LN_2 + log(total[r]);
    }
    put_rows<D>(out, out_steps, batch, head, first, n.t, n.d, sum, inverse);
}

// The weight of a score in powers of 2 for a query whose logarithm of its sum is `lse`.
DEVICE f32 flash_weight(f32 score, f32 lse) { return lse == -infinity<f32>() ? 0.0f : power_of_two(score - lse * LOG2_E); }

template <u32 D, class T>
DEVICE void flash_query_gradients(T* dq, f32* shares, const T* q, const T* k, const T* v, const T* out, const T* grad,
    const f32* lse, Sizes n, Steps dq_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps out_steps, Steps grad_steps, Rule rule) {
    DYNAMIC_SHARED(bf16, shared);
    const u32 size = Tile<D>::size(ROWS), head = blockIdx.y, batch = blockIdx.z, kv_head = head / (n.h / n.h_kv);
    const u32 begin = block_of_queries() * ROWS, first = begin + threadIdx.x / 32 * 16;
    const u32 group = threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
    const Source<T> keys(k, k_steps, batch, kv_head, n.s, n.d, D), values(v, v_steps, batch, kv_head, n.s, n.d, D);
    const Scores score(rule, n, batch, head);
    u32 own[D / 16][4], slopes_in[D / 16][4];
    own_rows<D>(own, Source<T>(q, q_steps, batch, head, n.t, n.d, D), first);
    own_rows<D>(slopes_in, Source<T>(grad, grad_steps, batch, head, n.t, n.d, D), first);
    f32 share[2], norm[2];
    for (u32 r = 0; r < 2; r++) {
        const u32 query = first + group + r * 8;
        f32 part = 0;
        if (query < n.t) {
            const T *o = out + out_steps.row(batch, head, query), *g = grad + grad_steps.row(batch, head, query);
            for (u32 c = pair; c < n.d; c += 4) part += load(o[c]) * load(g[c]);
        }
        share[r] = over_row(part, Plus());
        const u64 place = ((u64)batch * n.h + head) * n.t + query;
        norm[r] = query < n.t ? lse[place] : -infinity<f32>();
        if (pair == 0 && query < n.t) shares[place] = share[r];
    }
    f32 sum[D / 8][4] = {};
    const u32 last = begin + ROWS - 1, most = rule.visible(n, last < n.t ? last : n.t - 1);
    take_both<D>(shared, keys, values, 0);
    for (u32 tile = 0, stage = 0; tile < most; tile += ROWS, stage ^= 1) {
        const bf16* here = shared + stage * 2 * size;
        if (tile + ROWS < most) take_both<D>(shared + (stage ^ 1) * 2 * size, keys, values, tile + ROWS);
        else end_copies();
        await_copies<1>();
        __syncthreads();
        f32 scores[ROWS / 8][4], slopes[ROWS / 8][4];
        over_channels<D, ROWS>(scores, own, here);
        over_channels<D, ROWS>(slopes, slopes_in, here + size);
        const bool plain = score.plain(begin, tile + ROWS);
        for (u32 m = 0; m < ROWS / 8; m++)
            for (u32 i = 0; i < 4; i++) {
                const f32 x = plain ? scores[m][i] * score.scale
                                    : score.of(scores[m][i], first + group + i / 2 * 8, tile + m * 8 + pair * 2 + i % 2);
                slopes[m][i] = flash_weight(x, norm[i / 2]) * (slopes[m][i] - share[i / 2]);
            }
        over_rows<D, ROWS>(sum, slopes, here);
        __syncthreads();
    }
    const f32 factors[2] = {(f32)rule.scale, (f32)rule.scale};
    put_rows<D>(dq, dq_steps, batch, head, first, n.t, n.d, sum, factors);
}

// A warp's rows are keys here, and tiles are of queries: scores stand transposed.
template <u32 D, class T>
DEVICE void flash_key_gradients(T* dk, T* dv, const f32* shares, const T* q, const T* k, const T* v, const T* grad,
    const f32* lse, Sizes n, Steps dk_steps, Steps dv_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps grad_steps, Rule rule) {
    // Fewer queries at a time where a thread would otherwise run out of registers.
    const u32 R = D > 64 ? ROWS / 2 : ROWS, size = Tile<D>::size(R);
    DYNAMIC_SHARED(bf16, shared);
    bf16 *keys = shared, *values = keys + Tile<D>::size(ROWS), *stages = values + Tile<D>::size(ROWS);
    const u32 kv_head = blockIdx.y, batch = blockIdx.z, heads = n.h / n.h_kv, begin = blockIdx.x * ROWS;
    const u32 first = begin + threadIdx.x / 32 * 16, group = threadIdx.x % 32 / 4, pair = threadIdx.x % 4;
    const u32 own = threadIdx.x / 32 * 16 * Tile<D>::STRIDE;
    take<D, ROWS>(keys, Source<T>(k, k_steps, batch, kv_head, n.s, n.d, D), begin);
    take<D, ROWS>(values, Source<T>(v, v_steps, batch, kv_head, n.s, n.d, D), begin);
    f32 key_sum[D / 8][4] = {}, value_sum[D / 8][4] = {};
    // The first tile of queries of which one sees the block's first key: the last query of a tile sees most.
    u32 start = 0;
    while (start < n.t && rule.visible(n, start + R - 1 < n.t ? start + R - 1 : n.t - 1) <= begin) start += R;
    const u32 tiles = start < n.t ? (n.t - start + R - 1) / R : 0;
    const auto take_queries = [&](u32 number) {
        const u32 head = kv_head * heads + number / tiles, tile = start + number % tiles * R;
        bf16* stage = stages + number % 2 * 2 * size;
        take<D, R>(stage, Source<T>(q, q_steps, batch, head, n.t, n.d, D), tile);
        take<D, R>(stage + size, Source<T>(grad, grad_steps, batch, head, n.t, n.d, D), tile);
    };
    if (tiles > 0) take_queries(0);
    end_copies();
    for (u32 number = 0; number < heads * tiles; number++) {
        const u32 head = kv_head * heads + number / tiles, tile = start + number % tiles * R;
        const u64 places = ((u64)batch * n.h + head) * n.t;
        const bf16 *queries = stages + number % 2 * 2 * size, *grads = queries + size;
        if (number + 1 < heads * tiles) take_queries(number + 1);
        end_copies();
        await_copies<1>();
        __syncthreads();
        const Scores score(rule, n, batch, head);
        const bool plain = tile + R <= n.t && score.plain(tile, begin + ROWS);
        f32 scores[R / 8][4];
        over_channels<D, R>(scores, keys + own, queries);
        // In bf16 and two in a register from here on: a thread has no registers left for both in full.
        u32 weights[R / 8][2];
        for (u32 m = 0; m < R / 8; m++) {
            const u32 query = tile + m * 8 + pair * 2;
            const f32 norm[2] = {query < n.t ? lse[places + query] : -infinity<f32>(),
                query + 1 < n.t ? lse[places + query + 1] : -infinity<f32>()};
            for (u32 i = 0; i < 4; i++) {
                const f32 x = plain ? scores[m][i] * score.scale
                                    : score.of(scores[m][i], query + i % 2, first + group + i / 2 * 8);
                scores[m][i] = flash_weight(x, norm[i % 2]);
            }
            for (u32 i = 0; i < 2; i++) weights[m][i] = pack(scores[m][2 * i], scores[m][2 * i + 1]);
        }
        over_rows<D, R>(value_sum, scores, grads);
        over_channels<D, R>(scores, values + own, grads);
        for (u32 m = 0; m < R / 8; m++) {
            const u32 query = tile + m * 8 + pair * 2;
            const f32 share[2] = {query < n.t ? shares[places + query] : 0.0f, query + 1 < n.t ? shares[places + query + 1] : 0.0f};
            for (u32 i = 0; i < 4; i++) {
                const u32 both = weights[m][i / 2];
                const f32 weight = from_bits(i % 2 ? both & 0xffff0000u : both << 16);
                scores[m][i] = weight * (scores[m][i] - share[i % 2]);
            }
        }
        over_rows<D, R>(key_sum, scores, queries);
        __syncthreads();
    }
    const f32 ones[2] = {1, 1}, factors[2] = {(f32)rule.scale, (f32)rule.scale};
    put_rows<D>(dv, dv_steps, batch, kv_head, first, n.s, n.d, value_sum, ones);
    put_rows<D>(dk, dk_steps, batch, kv_head, first, n.s, n.d, key_sum, factors);
}

#define FLASH(D, suffix, T) \
    KERNEL(flash_forward_##D##_##suffix, T* out, f32* lse, const T* q, const T* k, const T* v, Sizes n, Steps out_steps, Steps q_steps, \
        Steps k_steps, Steps v_steps, Rule rule) { \
        flash_forward<D>(out, lse, q, k, v, n, out_steps, q_steps, k_steps, v_steps, rule); \
    } \
    KERNEL(flash_query_gradients_##D##_##suffix, T* dq, f32* shares, const T* q, const T* k, const T* v, const T* out, const T* grad, \
        const f32* lse, Sizes n, Steps dq_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps out_steps, Steps grad_steps, \
        Rule rule) { \
        flash_query_gradients<D>( \
            dq, shares, q, k, v, out, grad, lse, n, dq_steps, q_steps, k_steps, v_steps, out_steps, grad_steps, rule); \
    } \
    KERNEL(flash_key_gradients_##D##_##suffix, T* dk, T* dv, const f32* shares, const T* q, const T* k, const T* v, const T* grad, \
        const f32* lse, Sizes n, Steps dk_steps, Steps dv_steps, Steps q_steps, Steps k_steps, Steps v_steps, Steps grad_steps, \
        Rule rule) { \
        flash_key_gradients<D>( \
            dk, dv, shares, q, k, v, grad, lse, n, dk_steps, dv_steps, q_steps, k_steps, v_steps, grad_steps, rule); \
    }
// From f32 and to it, or from bf16 and to it; the arithmetic is the same.
#define FLASH_OF(D) FLASH(D, f32, f32) FLASH(D, bf16, bf16)
FLASH_OF(32)
FLASH_OF(64)
FLASH_OF(128)
