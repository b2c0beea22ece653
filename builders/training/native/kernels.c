/* Everything of a training step on a CPU that is no convolution and no matrix product, one network at a time.
 *
 * Activations are (batch, height, width, channels), channels last, stored as `real` or as bfloat16; arithmetic is in
 * `real`. A row of an image is width * channels values, at most 384, and stays in the first-level cache; tables of the
 * channels' coefficients are repeated to the length of a row, so that every loop is one of equal, independent lanes.
 *
 * Compiled without fast-math and without contraction into fused multiply-adds: the bits follow from this text alone, not
 * from the compiler or the width of its vectors. The names are those of builders/training/native/kernels.py, which calls.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef REAL64
typedef float real;
#else
typedef double real;
#endif

#define INLINE static inline __attribute__((always_inline))
#define ROW 384 /* values in the longest row: 32 x 12, 16 x 24 or 8 x 48 */
#define UNITS 192

enum { RELU, ELU, SIGMOID, TANH };

/* ---- storage ---- */

INLINE float from_bf16(uint16_t stored) {
    uint32_t bits = (uint32_t)stored << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE uint16_t to_bf16(float value) { /* to nearest, ties to even; NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

/* Return n stored values from `first` on as reals, converted into `buffer` where they are bfloat16. */
INLINE const real *load(const void *stored, int bf16, long first, int n, real *restrict buffer) {
    if (!bf16) return (const real *)stored + first;
    const uint16_t *restrict from = (const uint16_t *)stored + first;
    for (int i = 0; i < n; i++) buffer[i] = (real)from_bf16(from[i]);
    return buffer;
}

INLINE void store(void *stored, int bf16, long first, int n, const real *restrict values) {
    if (!bf16) {
        memcpy((real *)stored + first, values, (size_t)n * sizeof(real));
        return;
    }
    uint16_t *restrict to = (uint16_t *)stored + first;
    for (int i = 0; i < n; i++) to[i] = to_bf16((float)values[i]);
}

/* ---- activations ---- */

#ifdef REAL64
INLINE real exponential(real x) { return exp(x); }
#else
INLINE real exponential(real x) { /* relative error below 2e-7; Cody-Waite reduction, Taylor's sixth degree */
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    float n = floorf(x * 1.44269504f + 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return p * scale;
}
#endif

INLINE void activate(int activation, int n, real *restrict x) {
    switch (activation) {
    case RELU:
        for (int i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i];
        break;
    case ELU:
        for (int i = 0; i < n; i++) {
            real low = exponential(x[i]) - 1;
            x[i] = x[i] > 0 ? x[i] : low;
        }
        break;
    case SIGMOID:
        for (int i = 0; i < n; i++) x[i] = 1 / (1 + exponential(-x[i]));
        break;
    case TANH:
        for (int i = 0; i < n; i++) x[i] = 1 - 2 / (exponential(2 * x[i]) + 1);
        break;
    }
}

/* Multiply gradients g by the derivative where the activation's value is y. */
INLINE void activate_backward(int activation, int n, const real *restrict y, real *restrict g) {
    switch (activation) {
    case RELU:
        for (int i = 0; i < n; i++) g[i] = y[i] > 0 ? g[i] : 0;
        break;
    case ELU:
        for (int i = 0; i < n; i++) g[i] *= y[i] > 0 ? 1 : y[i] + 1;
        break;
    case SIGMOID:
        for (int i = 0; i < n; i++) g[i] *= y[i] * (1 - y[i]);
        break;
    case TANH:
        for (int i = 0; i < n; i++) g[i] *= 1 - y[i] * y[i];
        break;
    }
}

/* ---- tables and sums over lanes ---- */

INLINE void repeat(const real *restrict values, int channels, int n, real *restrict table) {
    for (int i = 0; i < n; i += channels) memcpy(table + i, values, (size_t)channels * sizeof(real));
}

/* Add lanes i, i + channels, ... to channel i. */
INLINE void fold(const double *restrict lanes, int n, int channels, double *restrict sums) {
    memset(sums, 0, (size_t)channels * sizeof(double));
    for (int i = 0; i < n; i++) sums[i % channels] += lanes[i];
}

/* Mean and biased variance of each channel. Sums are of differences from the first pixel, so that a mean far from zero
 * costs no digits; within an image in `real`, over images in double. */
static void channel_moments(const void *z, int bf16, long images, int rows, int n, int channels, real *mean, real *variance) {
    real buffer[ROW], origin[ROW], s1[ROW], s2[ROW];
    double t1[ROW], t2[ROW], sum1[UNITS], sum2[UNITS];
    memset(t1, 0, sizeof t1);
    memset(t2, 0, sizeof t2);
    repeat(load(z, bf16, 0, channels, buffer), channels, n, origin);
    for (long image = 0; image < images; image++) {
        memset(s1, 0, sizeof s1);
        memset(s2, 0, sizeof s2);
        for (int row = 0; row < rows; row++) {
            const real *restrict x = load(z, bf16, (image * rows + row) * n, n, buffer);
            for (int i = 0; i < n; i++) {
                real d = x[i] - origin[i];
                s1[i] += d;
                s2[i] += d * d;
            }
        }
        for (int i = 0; i < n; i++) {
            t1[i] += s1[i];
            t2[i] += s2[i];
        }
    }
    fold(t1, n, channels, sum1);
    fold(t2, n, channels, sum2);
    double count = (double)images * rows * (n / channels);
    for (int c = 0; c < channels; c++) {
        double m = sum1[c] / count, v = sum2[c] / count - m * m;
        mean[c] = (real)(origin[c] + m);
        variance[c] = (real)(v < 0 ? 0 : v);
    }
}

INLINE void move_running(int n, const real *mean, const real *variance, real momentum, real *running_mean, real *running_variance) {
    for (int i = 0; i < n; i++) {
        running_mean[i] += momentum * (mean[i] - running_mean[i]);
        running_variance[i] += momentum * (variance[i] - running_variance[i]);
    }
}

/* ---- a conv layer after its convolution: batch norm, 2x2 max-pool, activation ---- */

/* The larger of each pair of neighbouring pixels, the left one when equal; NaN wins. With `which` also z at that pixel and
 * whether it is the right one. */
INLINE void pool_pairs(int pixels, int C, const real *restrict a, real *restrict out) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) {
            real left = a[2 * p * C + c], right = a[(2 * p + 1) * C + c];
            real larger = left < right ? right : left;
            out[p * C + c] = right != right ? right : larger;
        }
}

INLINE void pool_pairs_of(int pixels, int C, const real *restrict a, real *restrict out, uint32_t *restrict right_won) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) {
            real left = a[2 * p * C + c], right = a[(2 * p + 1) * C + c];
            int won = left < right || right != right;
            out[p * C + c] = won ? right : left;
            right_won[p * C + c] = won ? 1 : 0;
        }
}

#define BY_CHANNELS(call)          \
    switch (channels) {            \
    case 4: call(4); break;        \
    case 8: call(8); break;        \
    case 12: call(12); break;      \
    case 16: call(16); break;      \
    case 24: call(24); break;      \
    case 32: call(32); break;      \
    case 48: call(48); break;      \
    default: call(channels); break; \
    }

/* y = activation(pool(scale z + shift)). */
static void scale_pool_activate(
    const void *z, int bf16, long images, int side, int channels, const real *scale, const real *shift, int pool, int activation,
    void *y
) {
    int n = side * channels, half = n / 2;
    real buffer[ROW], a[2][ROW], best[2][ROW], scales[ROW], shifts[ROW];
    repeat(scale, channels, n, scales);
    repeat(shift, channels, n, shifts);
    for (long row = 0; row < images * side; row += pool ? 2 : 1) {
        for (int k = 0; k < (pool ? 2 : 1); k++) {
            const real *restrict x = load(z, bf16, (row + k) * n, n, buffer);
            real *restrict out = a[k];
            for (int i = 0; i < n; i++) out[i] = x[i] * scales[i] + shifts[i];
        }
        if (!pool) {
            activate(activation, n, a[0]);
            store(y, bf16, row * n, n, a[0]);
            continue;
        }
#define POOL(C) pool_pairs(side / 2, C, a[0], best[0]), pool_pairs(side / 2, C, a[1], best[1])
        BY_CHANNELS(POOL)
        real *restrict upper = best[0], *restrict lower = best[1];
        for (int i = 0; i < half; i++) {
            real larger = upper[i] < lower[i] ? lower[i] : upper[i];
            upper[i] = lower[i] != lower[i] ? lower[i] : larger;
        }
        activate(activation, half, upper);
        store(y, bf16, row / 2 * half, half, upper);
    }
}

/* Forward of a conv layer after its convolution, in training.
 * z (images, side, side, channels); y, half the side with `pool`. gamma NULL: no norm. mean and rstd are kept for backward. */
void conv_forward(
    const void *z, int bf16, long images, int side, int channels, const real *gamma, const real *beta, real eps, real momentum,
    int pool, int activation, real *mean, real *rstd, real *running_mean, real *running_variance, void *y
) {
    real scale[UNITS], shift[UNITS], variance[UNITS];
    for (int c = 0; c < channels; c++) scale[c] = 1, shift[c] = 0;
    if (gamma) {
        channel_moments(z, bf16, images, side, side * channels, channels, mean, variance);
        for (int c = 0; c < channels; c++) {
            rstd[c] = (real)(1 / sqrt((double)variance[c] + (double)eps));
            scale[c] = gamma[c] * rstd[c];
            shift[c] = beta[c] - mean[c] * scale[c];
        }
        move_running(channels, mean, variance, momentum, running_mean, running_variance);
    }
    scale_pool_activate(z, bf16, images, side, channels, scale, shift, pool, activation, y);
}

/* A conv layer after its convolution with given scale and shift: evaluation. */
void conv_evaluate(
    const real *z, long images, int side, int channels, const real *scale, const real *shift, int pool, int activation, real *y
) {
    scale_pool_activate(z, 0, images, side, channels, scale, shift, pool, activation, y);
}

/* One pass of backward needs, for a row pair (pool) or a row: the gradients g behind the activation and which of the four
 * pixels they go to. */
INLINE void gradients_of_rows(
    const real *restrict z0, const real *restrict z1, const real *restrict scales, const real *restrict shifts, int n, int side,
    int channels, real *restrict a, real (*best)[ROW], uint32_t (*right)[ROW], uint32_t *restrict winner
) {
    const real *z[2] = {z0, z1};
    for (int k = 0; k < 2; k++) {
        const real *restrict x = z[k];
        for (int i = 0; i < n; i++) a[i] = x[i] * scales[i] + shifts[i];
#define POOL_OF(C) pool_pairs_of(side / 2, C, a, best[k], right[k])
        BY_CHANNELS(POOL_OF)
    }
    for (int i = 0; i < n / 2; i++) {
        int low = best[0][i] < best[1][i] || best[1][i] != best[1][i];
        winner[i] = low ? 2 + right[1][i] : right[0][i];
    }
}

INLINE void add_products(
    int pixels, int C, const real *restrict z0, const real *restrict z1, const uint32_t *restrict winner, const real *restrict g,
    const real *restrict means, real *restrict s1, real *restrict s2
) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) {
            int i = p * C + c, l = 2 * p * C + c, r = l + C;
            uint32_t w = winner[i];
            real upper = w == 1 ? z0[r] : z0[l], lower = w == 3 ? z1[r] : z1[l];
            real x = (w >= 2 ? lower : upper) - means[i];
            s1[i] += g[i];
            s2[i] += g[i] * x;
        }
}

INLINE void add_winners(
    int pixels, int C, const uint32_t *restrict winner, const real *restrict g, uint32_t first, real *restrict d
) {
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < C; c++) {
            int i = p * C + c, l = 2 * p * C + c;
            d[l] += winner[i] == first ? g[i] : 0;
            d[l + C] += winner[i] == first + 1 ? g[i] : 0;
        }
}

/* Backward of conv_forward: from dy to dz, and the gradients of gamma, beta and the convolution's bias.
 * The bias has no true gradient in front of a norm; what is summed here is the rounding of dz, as in any framework. */
void conv_backward(
    const void *z, const void *y, const void *dy, int bf16, long images, int side, int channels, const real *gamma,
    const real *beta, int pool, int activation, const real *mean, const real *rstd, void *dz, real *dgamma, real *dbeta,
    real *dbias
) {
    int n = side * channels, m = pool ? n / 2 : n, step = pool ? 2 : 1;
    real scale[UNITS], shift[UNITS], c1[UNITS], c2[UNITS], zero[UNITS];
    real scales[ROW], shifts[ROW], means[ROW], c1s[ROW], c2s[ROW];
    real b0[ROW], b1[ROW], by[ROW], bd[ROW], g[ROW], a[ROW], best[2][ROW], s1[ROW], s2[ROW], sb[ROW], d[2][ROW];
    uint32_t right[2][ROW], winner[ROW];
    double t1[ROW], t2[ROW], sum1[UNITS], sum2[UNITS];
    for (int c = 0; c < channels; c++) {
        scale[c] = gamma ? gamma[c] * rstd[c] : 1;
        shift[c] = gamma ? beta[c] - mean[c] * scale[c] : 0;
        zero[c] = c1[c] = c2[c] = 0;
    }
    repeat(scale, channels, n, scales);
    repeat(shift, channels, n, shifts);
    repeat(gamma ? mean : zero, channels, n, means);
    if (gamma) {
        memset(t1, 0, sizeof t1);
        memset(t2, 0, sizeof t2);
        for (long image = 0; image < images; image++) {
            memset(s1, 0, sizeof s1);
            memset(s2, 0, sizeof s2);
            for (int r = 0; r < side; r += step) {
                long row = image * side + r;
                const real *restrict z0 = load(z, bf16, row * n, n, b0);
                const real *restrict yy = load(y, bf16, row / step * m, m, by);
                memcpy(g, load(dy, bf16, row / step * m, m, bd), (size_t)m * sizeof(real));
                activate_backward(activation, m, yy, g);
                if (pool) {
                    const real *restrict z1 = load(z, bf16, (row + 1) * n, n, b1);
                    gradients_of_rows(z0, z1, scales, shifts, n, side, channels, a, best, right, winner);
#define PRODUCTS(C) add_products(side / 2, C, z0, z1, winner, g, means, s1, s2)
                    BY_CHANNELS(PRODUCTS)
                } else {
                    for (int i = 0; i < n; i++) {
                        s1[i] += g[i];
                        s2[i] += g[i] * (z0[i] - means[i]);
                    }
                }
            }
            for (int i = 0; i < m; i++) {
                t1[i] += s1[i];
                t2[i] += s2[i];
            }
        }
        fold(t1, m, channels, sum1);
        fold(t2, m, channels, sum2);
        double count = (double)images * side * side;
        for (int c = 0; c < channels; c++) {
            dbeta[c] = (real)sum1[c];
            dgamma[c] = (real)(sum2[c] * rstd[c]);
            c1[c] = (real)(sum1[c] / count);
            c2[c] = (real)(sum2[c] * rstd[c] * rstd[c] / count);
        }
    }
    repeat(c1, channels, n, c1s);
    repeat(c2, channels, n, c2s);
    memset(sb, 0, sizeof sb);
    for (long row = 0; row < images * side; row += step) {
        const real *restrict zr[2] = {load(z, bf16, row * n, n, b0), 0};
        const real *restrict yy = load(y, bf16, row / step * m, m, by);
        memcpy(g, load(dy, bf16, row / step * m, m, bd), (size_t)m * sizeof(real));
        activate_backward(activation, m, yy, g);
        if (pool) {
            zr[1] = load(z, bf16, (row + 1) * n, n, b1);
            gradients_of_rows(zr[0], zr[1], scales, shifts, n, side, channels, a, best, right, winner);
        }
        for (int k = 0; k < step; k++) {
            const real *restrict x = zr[k];
            real *restrict out = d[k];
            for (int i = 0; i < n; i++) out[i] = -c1s[i] - (x[i] - means[i]) * c2s[i];
            if (pool) {
#define WINNERS(C) add_winners(side / 2, C, winner, g, 2 * (uint32_t)k, out)
                BY_CHANNELS(WINNERS)
            } else {
                for (int i = 0; i < n; i++) out[i] += g[i];
            }
            for (int i = 0; i < n; i++) out[i] *= scales[i];
            store(dz, bf16, (row + k) * n, n, out);
            const real *restrict rounded = load(dz, bf16, (row + k) * n, n, b0 + 0);
            for (int i = 0; i < n; i++) sb[i] += rounded[i];
        }
    }
    for (int c = 0; c < channels; c++) {
        real sum = 0;
        for (int i = c; i < n; i += channels) sum += sb[i];
        dbias[c] = sum;
    }
}

/* ---- a hidden fully connected layer after its product: activation, batch norm, dropout 0.5 ---- */

/* u (batch, units) becomes v = activation(u); out = dropout(norm(v)). keep (batch, stride) bytes of this layer. */
void hidden_forward(
    void *u, int bf16, int batch, int units, const real *gamma, const real *beta, real eps, real momentum, int activation,
    const uint8_t *keep, long stride, real *mean, real *rstd, real *running_mean, real *running_variance, void *out
) {
    real buffer[UNITS], row[UNITS], scale[UNITS], shift[UNITS], variance[UNITS];
    for (int b = 0; b < batch; b++) {
        memcpy(row, load(u, bf16, (long)b * units, units, buffer), (size_t)units * sizeof(real));
        activate(activation, units, row);
        store(u, bf16, (long)b * units, units, row);
    }
    for (int i = 0; i < units; i++) scale[i] = 1, shift[i] = 0;
    if (gamma) {
        channel_moments(u, bf16, batch, 1, units, units, mean, variance);
        for (int i = 0; i < units; i++) {
            rstd[i] = (real)(1 / sqrt((double)variance[i] + (double)eps));
            scale[i] = gamma[i] * rstd[i];
            shift[i] = beta[i] - mean[i] * scale[i];
        }
        move_running(units, mean, variance, momentum, running_mean, running_variance);
    }
    for (int b = 0; b < batch; b++) {
        const real *restrict v = load(u, bf16, (long)b * units, units, buffer);
        const uint8_t *restrict kept = keep + (long)b * stride;
        for (int i = 0; i < units; i++) {
            real value = 2 * (v[i] * scale[i] + shift[i]);
            row[i] = kept[i] ? value : 0;
        }
        store(out, bf16, (long)b * units, units, row);
    }
}

/* Backward of hidden_forward: dout becomes du; gradients of gamma, beta and the product's bias. */
void hidden_backward(
    const void *v, void *dout, int bf16, int batch, int units, const real *gamma, int activation, const uint8_t *keep,
    long stride, const real *mean, const real *rstd, real *dgamma, real *dbeta, real *dbias
) {
    real bv[UNITS], bd[UNITS], g[UNITS], scale[UNITS], c1[UNITS], c2[UNITS], m[UNITS];
    double s1[UNITS], s2[UNITS], sb[UNITS];
    memset(s1, 0, sizeof s1);
    memset(s2, 0, sizeof s2);
    memset(sb, 0, sizeof sb);
    for (int i = 0; i < units; i++) {
        m[i] = gamma ? mean[i] : 0;
        scale[i] = gamma ? gamma[i] * rstd[i] : 1;
        c1[i] = c2[i] = 0;
    }
    if (gamma) {
        for (int b = 0; b < batch; b++) {
            const real *restrict x = load(v, bf16, (long)b * units, units, bv);
            const real *restrict d = load(dout, bf16, (long)b * units, units, bd);
            const uint8_t *restrict kept = keep + (long)b * stride;
            for (int i = 0; i < units; i++) {
                real dn = kept[i] ? 2 * d[i] : 0;
                s1[i] += dn;
                s2[i] += dn * (x[i] - m[i]);
            }
        }
        for (int i = 0; i < units; i++) {
            dbeta[i] = (real)s1[i];
            dgamma[i] = (real)(s2[i] * rstd[i]);
            c1[i] = (real)(s1[i] / batch);
            c2[i] = (real)(s2[i] * rstd[i] * rstd[i] / batch);
        }
    }
    for (int b = 0; b < batch; b++) {
        const real *restrict x = load(v, bf16, (long)b * units, units, bv);
        const real *restrict d = load(dout, bf16, (long)b * units, units, bd);
        const uint8_t *restrict kept = keep + (long)b * stride;
        for (int i = 0; i < units; i++) {
            real dn = kept[i] ? 2 * d[i] : 0;
            g[i] = scale[i] * (dn - c1[i] - (x[i] - m[i]) * c2[i]);
        }
        activate_backward(activation, units, x, g);
        store(dout, bf16, (long)b * units, units, g);
        const real *restrict rounded = load(dout, bf16, (long)b * units, units, bd);
        for (int i = 0; i < units; i++) sb[i] += rounded[i];
    }
    for (int i = 0; i < units; i++) dbias[i] = (real)sb[i];
}

/* ---- loss ---- */

/* Mean cross-entropy of logits (batch, classes), which become its gradient; dbias is the gradient's sum over the batch. */
double cross_entropy(void *logits, int bf16, int batch, int classes, const uint8_t *labels, real *dbias) {
    real buffer[UNITS], p[UNITS];
    double loss = 0, sb[UNITS];
    memset(sb, 0, sizeof sb);
    for (int b = 0; b < batch; b++) {
        const real *restrict x = load(logits, bf16, (long)b * classes, classes, buffer);
        real largest = x[0], sum = 0;
        for (int i = 1; i < classes; i++) largest = x[i] > largest || x[i] != x[i] ? x[i] : largest;
        real own = x[labels[b]] - largest;
        for (int i = 0; i < classes; i++) p[i] = exponential(x[i] - largest);
        for (int i = 0; i < classes; i++) sum += p[i];
        for (int i = 0; i < classes; i++) p[i] = (p[i] / sum - (i == labels[b] ? 1 : 0)) / batch;
        loss += log((double)sum) - (double)own;
        store(logits, bf16, (long)b * classes, classes, p);
        const real *restrict rounded = load(logits, bf16, (long)b * classes, classes, buffer);
        for (int i = 0; i < classes; i++) sb[i] += rounded[i];
    }
    for (int i = 0; i < classes; i++) dbias[i] = (real)sb[i];
    return loss / batch;
}

/* ---- optimizer: the shared update of builders/training/optimizers.py ---- */

void update(
    long n, real *restrict p, real *restrict m, real *restrict v, const real *restrict g, real rate, real b1, real c1, real b2,
    real s2, real eps_inside, real eps_outside
) {
    for (long i = 0; i < n; i++) {
        real scaled = g[i] * s2;
        real mi = m[i] * b1 + g[i] * c1, vi = v[i] * b2 + scaled * scaled;
        m[i] = mi;
        v[i] = vi;
#ifdef REAL64
        p[i] -= rate * mi / (sqrt(vi + eps_inside) + eps_outside);
#else
        p[i] -= rate * mi / (sqrtf(vi + eps_inside) + eps_outside);
#endif
    }
}

/* ---- random words: Philox4x32-10 as in nws_data/randomness.py ---- */

void philox_words(uint64_t seed, uint32_t purpose, uint32_t step, long n, uint32_t *restrict out) {
    enum { LANES = 16 };
    for (long block = 0; 4 * block < n; block += LANES) {
        uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int i = 0; i < LANES; i++) c0[i] = (uint32_t)(block + i), c1[i] = step, c2[i] = purpose, c3[i] = 0;
        for (int round = 0; round < 10; round++) {
            for (int i = 0; i < LANES; i++) {
                uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
                c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
                c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
                c1[i] = (uint32_t)p1;
                c3[i] = (uint32_t)p0;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int i = 0; i < LANES; i++) {
            uint32_t word[4] = {c0[i], c1[i], c2[i], c3[i]};
            for (long k = 0; k < 4 && 4 * (block + i) + k < n; k++) out[4 * (block + i) + k] = word[k];
        }
    }
}

/* keep[i] is bit i % 32 of word i / 32. */
void dropout_mask(uint64_t seed, uint32_t purpose, uint32_t step, long n, uint32_t *restrict words, uint8_t *restrict keep) {
    philox_words(seed, purpose, step, (n + 31) / 32, words);
    for (long i = 0; i < n; i++) keep[i] = (words[i / 32] >> (i % 32)) & 1;
}

/* ---- images ---- */

/* Rows of uint8 images (n, planes, side, side), planes 1 or 3, as (batch, side, side, 3) in [0, 1]. */
void gather_images(const uint8_t *bank, const int64_t *positions, int batch, int planes, int area, int bf16, void *out) {
    real values[3 * ROW];
    for (int b = 0; b < batch; b++) {
        const uint8_t *image = bank + positions[b] * planes * area;
        for (int first = 0; first < area; first += ROW) {
            int n = area - first < ROW ? area - first : ROW;
            for (int k = 0; k < 3; k++) {
                const uint8_t *restrict plane = image + (planes == 3 ? k * area : 0) + first;
                for (int i = 0; i < n; i++) values[3 * i + k] = (real)plane[i] / 255;
            }
            store(out, bf16, ((long)b * area + first) * 3, 3 * n, values);
        }
    }
}
