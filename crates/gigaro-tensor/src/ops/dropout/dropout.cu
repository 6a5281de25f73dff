// Dropout: the mask of the processor, bit for bit.

// Philox4x32-10 (Salmon et al. 2011): four random words for a counter under a key.
DEVICE void philox(u32 (&word)[4], u32 key0, u32 key1) {
    for (int round = 0; round < 10; round++) {
        if (round > 0) {
            key0 += 0x9e3779b9u;
            key1 += 0xbb67ae85u;
        }
        const u64 p = (u64)word[0] * 0xd2511f53u, q = (u64)word[2] * 0xcd9e8d57u;
        const u32 next[4] = {(u32)(q >> 32) ^ word[1] ^ key0, (u32)q, (u32)(p >> 32) ^ word[3] ^ key1, (u32)p};
        for (int i = 0; i < 4; i++) word[i] = next[i];
    }
}

// A thread takes the four elements that one counter decides. Counters begin at `first`, after `position` if there is one.
#define DROPOUT(suffix, T, _) \
    KERNEL(dropout_##suffix, T* out, u64 n, const T* in, f64 scale, u32 threshold, u64 seed, const u64* position, u64 first) { \
        if (position) first += *position; \
        for (u64 four = first_element(); 4 * four < n; four += element_step()) { \
            const u64 at = first + four; \
            u32 words[4] = {(u32)at, (u32)(at >> 32), 0, 0}; \
            philox(words, (u32)seed, (u32)(seed >> 32)); \
            for (int j = 0; j < 4 && 4 * four + j < n; j++) { \
                const u64 i = 4 * four + j; \
                const Compute<T> x = load(in[i]) * (Compute<T>)scale; \
                out[i] = store<T>(words[j] >= threshold ? x : (Compute<T>)0); \
            } \
        } \
    }
FOR_FLOATS(DROPOUT, 0)
