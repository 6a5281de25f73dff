// Activation functions and their derivatives.

template <class C> DEVICE C sigmoid(C x) { return (C)1 / ((C)1 + exp(-x)); }

struct GeluTanh {
    // 2 sqrt(2 / pi), and that times 0.044715
    template <class C> static DEVICE C slope() { return (C)1.5957691216057308; }
    template <class C> static DEVICE C cubic() { return (C)0.07135481627159685; }
    template <class C> static DEVICE C value(C x) {
        return x * sigmoid(x * (slope<C>() + cubic<C>() * x * x));
    }
    template <class C> static DEVICE C derivative(C x) {
        const C s = sigmoid(x * (slope<C>() + cubic<C>() * x * x));
        return s + x * s * ((C)1 - s) * (slope<C>() + (C)3 * cubic<C>() * x * x);
    }
};
struct Gelu {
    template <class C> static DEVICE C cdf(C x) { return (C)0.5 * ((C)1 + erf(x * (C)0.7071067811865476)); }
    template <class C> static DEVICE C value(C x) { return x * cdf(x); }
    template <class C> static DEVICE C derivative(C x) {
        // 1 / sqrt(2 pi)
        return cdf(x) + x * exp((C)-0.5 * x * x) * (C)0.3989422804014327;
    }
};
struct Silu {
    template <class C> static DEVICE C value(C x) { return x * sigmoid(x); }
    template <class C> static DEVICE C derivative(C x) {
        const C s = sigmoid(x);
        return s + x * s * ((C)1 - s);
    }
};
struct ReluSquared {
    template <class C> static DEVICE C value(C x) { return x > 0 || x != x ? x * x : (C)0; }
    template <class C> static DEVICE C derivative(C x) { return x > 0 || x != x ? x + x : (C)0; }
};

#define ACTIVATION(name, Type) FOR_FLOATS(ACTIVATION_OF, name, Type)
#define ACTIVATION_OF(suffix, T, name, Type) \
    KERNEL(name##_##suffix, T* out, u64 n, Walk<1> walk, const T* in) { \
        map(out, n, walk, in, [](Compute<T> x) { return Type::value(x); }); \
    } \
    KERNEL(name##_backward_##suffix, T* out, u64 n, Walk<2> walk, const T* in, const T* grad) { \
        zip(out, n, walk, in, grad, [](Compute<T> x, Compute<T> g) { return Type::derivative(x) * g; }); \
    }

ACTIVATION(gelu_tanh, GeluTanh)
ACTIVATION(gelu, Gelu)
ACTIVATION(silu, Silu)
ACTIVATION(relu_squared, ReluSquared)
