// Functions of one element.

#define UNARY(name, formula) FOR_FLOATS(UNARY_OF, name, formula)
#define UNARY_OF(suffix, T, name, formula) \
    KERNEL(name##_##suffix, T* out, u64 n, Walk<1> walk, const T* in) { \
        map(out, n, walk, in, [](Compute<T> x) { \
            typedef Compute<T> C; \
            const C one = 1; \
            (void)one; \
            return (C)(formula); \
        }); \
    }

UNARY(exp, exp(x))
UNARY(log, log(x))
UNARY(sqrt, sqrt(x))
UNARY(rsqrt, one / sqrt(x))
UNARY(reciprocal, one / x)
UNARY(square, x * x)
UNARY(tanh, tanh(x))
UNARY(sigmoid, one / (one + exp(-x)))
UNARY(erf, erf(x))
UNARY(sin, sin(x))
UNARY(cos, cos(x))
UNARY(abs, fabs(x))
UNARY(relu, x > 0 || x != x ? x : (C)0)
UNARY(sign, x > 0 ? one : x < 0 ? -one : x)
UNARY(floor, floor(x))
UNARY(ceil, ceil(x))
UNARY(round, rint(x))

#define POW(suffix, T, _) \
    KERNEL(pow_##suffix, T* out, u64 n, Walk<1> walk, const T* in, f64 exponent) { \
        map(out, n, walk, in, [exponent](Compute<T> x) { return pow(x, (Compute<T>)exponent); }); \
    }
FOR_FLOATS(POW, 0)
