// Attention without its matrix of scores (Dao et al. 2022), in plain arithmetic: a thread for each row.
//
// A block takes as many neighbouring rows as it has threads, and walks over the others in tiles of as many, which it keeps in shared memory;
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
