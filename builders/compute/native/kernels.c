/* Everything of a training step on a CPU that is no convolution and no matrix product, one network at a time.
 *
 * Activations are (batch, height, width, channels), channels last, stored as `real` or as bfloat16; arithmetic is in
 * `real`. A row of an image is width * channels values, at most 384, and stays in the first-level cache; tables of the
 * channels' coefficients are repeated to the length of a row, so that every loop is one of equal, independent lanes.
 *
 * Compiled without fast-math and without contraction into fused multiply-adds: the bits follow from this text alone, not
 * from the compiler or the width of its vectors. The names are those of builders/compute/native/library.py, which loads.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Codes of the activations, DROPOUT_SCALE, ROW and UNITS are defined by library.py. */

#ifndef REAL64
typedef float real;
#define ROOT sqrtf
#else
typedef double real;
#define ROOT sqrt
#endif

#define INLINE static inline __attribute__((always_inline))

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
    float p = (((1.0f / 720 * r + 1.0f / 120) * r + 1.0f / 24) * r + 1.0f / 6) * r + 0.5f;
    p = (p * r + 1.0f) * r + 1.0f;
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
    double t1[ROW] = {0}, t2[ROW] = {0}, sum1[UNITS], sum2[UNITS];
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

/* Scale and shift of batch norm by the moments of z, which are kept for backward, and its running statistics moved on;
 * gamma NULL: no norm, scale 1 and shift 0. */
static void norm_forward(
    const void *z, int bf16, long images, int rows, int n, int channels, const real *gamma, const real *beta, real eps,
    real momentum, real *mean, real *rstd, real *running_mean, real *running_variance, real *scale, real *shift
) {
    real variance[UNITS];
    for (int c = 0; c < channels; c++) scale[c] = 1, shift[c] = 0;
    if (!gamma) return;
    channel_moments(z, bf16, images, rows, n, channels, mean, variance);
    for (int c = 0; c < channels; c++) {
        rstd[c] = (real)(1 / sqrt((double)variance[c] + (double)eps));
        scale[c] = gamma[c] * rstd[c];
        shift[c] = beta[c] - mean[c] * scale[c];
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
        running_variance[c] += momentum * (variance[c] - running_variance[c]);
    }
}

/* Gradients of gamma and beta, and the coefficients of the input's, from the sums over `count` of the gradients and of the
 * gradients times centred inputs. */
INLINE void norm_backward(
    int channels, const double *sum1, const double *sum2, double count, const real *rstd, real *dgamma, real *dbeta, real *c1,
    real *c2
) {
    for (int c = 0; c < channels; c++) {
        dbeta[c] = (real)sum1[c];
        dgamma[c] = (real)(sum2[c] * rstd[c]);
        c1[c] = (real)(sum1[c] / count);
        c2[c] = (real)(sum2[c] * rstd[c] * rstd[c] / count);
    }
}

/* ---- a conv layer after its convolution: batch norm, 2x2 max-pool, activation ---- */

/* Even and odd pixels of a row apart, so that pooling compares equal lanes; and together again. */
INLINE void split_row(int pixels, int C, const real *restrict row, real *restrict even, real *restrict odd) {
    for (int p = 0; p < pixels; p++) {
        memcpy(even + p * C, row + 2 * p * C, (size_t)C * sizeof(real));
        memcpy(odd + p * C, row + (2 * p + 1) * C, (size_t)C * sizeof(real));
    }
}

INLINE void join_row(int pixels, int C, const real *restrict even, const real *restrict odd, real *restrict row) {
    for (int p = 0; p < pixels; p++) {
        memcpy(row + 2 * p * C, even + p * C, (size_t)C * sizeof(real));
        memcpy(row + (2 * p + 1) * C, odd + p * C, (size_t)C * sizeof(real));
    }
}

#define BY_CHANNELS(call)           \
    switch (channels) {             \
    case 4: call(4); break;         \
    case 8: call(8); break;         \
    case 12: call(12); break;       \
    case 16: call(16); break;       \
    case 24: call(24); break;       \
    case 32: call(32); break;       \
    case 48: call(48); break;       \
    default: call(channels); break; \
    }

/* The four pixels of every 2x2 window from two rows on: upper left, upper right, lower left, lower right. */
INLINE void load_windows(const void *z, int bf16, long row, int n, int side, int channels, real (*restrict windows)[ROW]) {
    real buffer[ROW];
    for (int k = 0; k < 2; k++) {
        const real *restrict x = load(z, bf16, (row + k) * n, n, buffer);
#define SPLIT(C) split_row(side / 2, C, x, windows[2 * k], windows[2 * k + 1])
        BY_CHANNELS(SPLIT)
    }
}

/* Of lane i of a window (x0, x1, x2, x3), scaled and shifted: the values a0 to a3, the larger of the upper and of the lower two,
 * whether each is the right one, and whether the lower is the largest. The first counts when they are equal. */
#define POOL(scale, shift)                                                   \
    real a0 = x0 * scale + shift, a1 = x1 * scale + shift;                   \
    real a2 = x2 * scale + shift, a3 = x3 * scale + shift;                   \
    int right0 = a0 < a1, right1 = a2 < a3;                                  \
    real upper = right0 ? a1 : a0, lower = right1 ? a3 : a2;                 \
    int low = upper < lower;

/* y = activation(pool(scale z + shift)); with given scale and shift also a conv layer in evaluation. */
void scale_pool_activate(
    const void *z, int bf16, long images, int side, int channels, const real *scale, const real *shift, int pool, int activation,
    void *y
) {
    int n = side * channels, m = pool ? n / 2 : n;
    real buffer[ROW], out[ROW], w[4][ROW], scales[ROW], shifts[ROW];
    repeat(scale, channels, n, scales);
    repeat(shift, channels, n, shifts);
    for (long row = 0; row < images * side; row += pool ? 2 : 1) {
        if (pool) {
            load_windows(z, bf16, row, n, side, channels, w);
            const real *restrict w0 = w[0], *restrict w1 = w[1], *restrict w2 = w[2], *restrict w3 = w[3];
            for (int i = 0; i < m; i++) {
                real x0 = w0[i], x1 = w1[i], x2 = w2[i], x3 = w3[i];
                POOL(scales[i], shifts[i])
                int nan = (a0 != a0) | (a1 != a1) | (a2 != a2) | (a3 != a3);
                out[i] = nan ? a0 + a1 + a2 + a3 : low ? lower : upper;
            }
        } else {
            const real *restrict x = load(z, bf16, row * n, n, buffer);
            for (int i = 0; i < n; i++) out[i] = x[i] * scales[i] + shifts[i];
        }
        activate(activation, m, out);
        store(y, bf16, (pool ? row / 2 : row) * m, m, out);
    }
}

/* Forward of a conv layer after its convolution, in training.
 * z (images, side, side, channels); y, half the side with `pool`. gamma NULL: no norm. mean and rstd are kept for backward. */
void conv_forward(
    const void *z, int bf16, long images, int side, int channels, const real *gamma, const real *beta, real eps, real momentum,
    int pool, int activation, real *mean, real *rstd, real *running_mean, real *running_variance, void *y
) {
    real scale[UNITS], shift[UNITS];
    norm_forward(z, bf16, images, side, side * channels, channels, gamma, beta, eps, momentum, mean, rstd, running_mean,
                 running_variance, scale, shift);
    scale_pool_activate(z, bf16, images, side, channels, scale, shift, pool, activation, y);
}

/* Coefficients of a layer's backward pass, repeated along a row. */
typedef struct {
    real scale[ROW], shift[ROW], mean[ROW], c1[ROW], c2[ROW];
} Tables;

/* The gradients behind the activation of the outputs that belong to a row, or to two rows with pool. */
INLINE void output_gradients(const void *y, const void *dy, int bf16, long first, int m, int activation, real *restrict g) {
    real values[ROW], buffer[ROW];
    memcpy(g, load(dy, bf16, first, m, buffer), (size_t)m * sizeof(real));
    activate_backward(activation, m, load(y, bf16, first, m, values), g);
}

/* Add, lane by lane, gradients to s1 and gradients times centred inputs to s2: those of beta and gamma. */
INLINE void add_norm_gradients(const real (*restrict w)[ROW], const Tables *t, int m, int pool, const real *restrict g,
                               real *restrict s1, real *restrict s2) {
    const real *restrict w0 = w[0], *restrict w1 = w[1], *restrict w2 = w[2], *restrict w3 = w[3];
    for (int i = 0; i < m; i++) {
        real x = w0[i];
        if (pool) {
            real x0 = w0[i], x1 = w1[i], x2 = w2[i], x3 = w3[i];
            POOL(t->scale[i], t->shift[i])
            real upper_x = right0 ? x1 : x0, lower_x = right1 ? x3 : x2;
            x = low ? lower_x : upper_x;
        }
        s1[i] += g[i];
        s2[i] += g[i] * (x - t->mean[i]);
    }
}

/* Replace inputs of the norm by their gradients, those of the convolution's output. */
INLINE void input_gradients(real (*restrict w)[ROW], const Tables *t, int m, int pool, const real *restrict g) {
    real *restrict w0 = w[0], *restrict w1 = w[1], *restrict w2 = w[2], *restrict w3 = w[3];
    for (int i = 0; i < m; i++) {
        real s = t->scale[i], c1 = t->c1[i], c2 = t->c2[i], mean = t->mean[i];
        if (!pool) {
            w0[i] = s * (g[i] - c1 - (w0[i] - mean) * c2);
            continue;
        }
        real x0 = w0[i], x1 = w1[i], x2 = w2[i], x3 = w3[i];
        POOL(s, t->shift[i])
        real g_upper = low ? 0 : g[i], g_lower = low ? g[i] : 0;
        w0[i] = s * ((right0 ? 0 : g_upper) - c1 - (x0 - mean) * c2);
        w1[i] = s * ((right0 ? g_upper : 0) - c1 - (x1 - mean) * c2);
        w2[i] = s * ((right1 ? 0 : g_lower) - c1 - (x2 - mean) * c2);
        w3[i] = s * ((right1 ? g_lower : 0) - c1 - (x3 - mean) * c2);
    }
}

INLINE void load_inputs(const void *z, int bf16, long row, int n, int side, int channels, int pool, real (*w)[ROW]) {
    real buffer[ROW];
    if (pool)
        load_windows(z, bf16, row, n, side, channels, w);
    else
        memcpy(w[0], load(z, bf16, row * n, n, buffer), (size_t)n * sizeof(real));
}

/* Backward of conv_forward: z becomes dz, row by row; the gradients of gamma, beta and the convolution's bias.
 * The bias has no true gradient in front of a norm; what is summed here is the rounding of dz, as in any framework. */
void conv_backward(
    void *z, const void *y, const void *dy, int bf16, long images, int side, int channels, const real *gamma,
    const real *beta, int pool, int activation, const real *mean, const real *rstd, real *dgamma, real *dbeta, real *dbias
) {
    int n = side * channels, m = pool ? n / 2 : n, step = pool ? 2 : 1;
    real scale[UNITS], shift[UNITS], zero[UNITS], c1[UNITS], c2[UNITS];
    real g[ROW], w[4][ROW], s1[ROW], s2[ROW], sb[ROW] = {0}, row_out[ROW], buffer[ROW];
    double t1[ROW] = {0}, t2[ROW] = {0}, sum1[UNITS], sum2[UNITS];
    Tables t;
    for (int c = 0; c < channels; c++) {
        scale[c] = gamma ? gamma[c] * rstd[c] : 1;
        shift[c] = gamma ? beta[c] - mean[c] * scale[c] : 0;
        zero[c] = c1[c] = c2[c] = 0;
    }
    repeat(scale, channels, n, t.scale);
    repeat(shift, channels, n, t.shift);
    repeat(gamma ? mean : zero, channels, n, t.mean);
    if (gamma) {
        for (long image = 0; image < images; image++) {
            memset(s1, 0, sizeof s1);
            memset(s2, 0, sizeof s2);
            for (long row = image * side; row < (image + 1) * side; row += step) {
                output_gradients(y, dy, bf16, row / step * m, m, activation, g);
                load_inputs(z, bf16, row, n, side, channels, pool, w);
                if (pool)
                    add_norm_gradients((const real(*)[ROW])w, &t, m, 1, g, s1, s2);
                else
                    add_norm_gradients((const real(*)[ROW])w, &t, m, 0, g, s1, s2);
            }
            for (int i = 0; i < m; i++) {
                t1[i] += s1[i];
                t2[i] += s2[i];
            }
        }
        fold(t1, m, channels, sum1);
        fold(t2, m, channels, sum2);
        norm_backward(channels, sum1, sum2, (double)images * side * side, rstd, dgamma, dbeta, c1, c2);
    }
    repeat(c1, channels, n, t.c1);
    repeat(c2, channels, n, t.c2);
    for (long row = 0; row < images * side; row += step) {
        output_gradients(y, dy, bf16, row / step * m, m, activation, g);
        load_inputs(z, bf16, row, n, side, channels, pool, w);
        if (pool)
            input_gradients(w, &t, m, 1, g);
        else
            input_gradients(w, &t, m, 0, g);
        for (int k = 0; k < step; k++) {
#define JOIN(C) join_row(side / 2, C, w[2 * k], w[2 * k + 1], row_out)
            if (pool) BY_CHANNELS(JOIN)
            const real *restrict out = pool ? row_out : w[0];
            store(z, bf16, (row + k) * n, n, out);
            const real *restrict rounded = load(z, bf16, (row + k) * n, n, buffer);
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
    real buffer[UNITS], row[UNITS], scale[UNITS], shift[UNITS];
    for (int b = 0; b < batch; b++) {
        memcpy(row, load(u, bf16, (long)b * units, units, buffer), (size_t)units * sizeof(real));
        activate(activation, units, row);
        store(u, bf16, (long)b * units, units, row);
    }
    norm_forward(u, bf16, batch, 1, units, units, gamma, beta, eps, momentum, mean, rstd, running_mean, running_variance, scale,
                 shift);
    for (int b = 0; b < batch; b++) {
        const real *restrict v = load(u, bf16, (long)b * units, units, buffer);
        const uint8_t *restrict kept = keep + (long)b * stride;
        for (int i = 0; i < units; i++) {
            real value = DROPOUT_SCALE * (v[i] * scale[i] + shift[i]);
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
    double s1[UNITS] = {0}, s2[UNITS] = {0}, sb[UNITS] = {0};
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
                real dn = kept[i] ? DROPOUT_SCALE * d[i] : 0;
                s1[i] += dn;
                s2[i] += dn * (x[i] - m[i]);
            }
        }
        norm_backward(units, s1, s2, batch, rstd, dgamma, dbeta, c1, c2);
    }
    for (int b = 0; b < batch; b++) {
        const real *restrict x = load(v, bf16, (long)b * units, units, bv);
        const real *restrict d = load(dout, bf16, (long)b * units, units, bd);
        const uint8_t *restrict kept = keep + (long)b * stride;
        for (int i = 0; i < units; i++) {
            real dn = kept[i] ? DROPOUT_SCALE * d[i] : 0;
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
    double loss = 0, sb[UNITS] = {0};
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

/* ---- optimizer: the shared update of builders/recipe/optimizers.py ---- */

void update(
    long n, real *restrict p, real *restrict m, real *restrict v, const real *restrict g, real rate, real b1, real c1, real b2,
    real s2, real eps_inside, real eps_outside
) {
    for (long i = 0; i < n; i++) {
        real scaled = g[i] * s2;
        real mi = m[i] * b1 + g[i] * c1, vi = v[i] * b2 + scaled * scaled;
        m[i] = mi;
        v[i] = vi;
        p[i] -= rate * mi / (ROOT(vi + eps_inside) + eps_outside);
    }
}

/* ---- random words: Philox4x32-10 as in nws_data/randomness.py ---- */

/* Blocks first, first + 1, ...: out (4, n), word k of all blocks together; n a multiple of 16. */
static void philox_blocks(uint64_t seed, uint32_t purpose, uint32_t step, long first, long n, uint32_t *restrict out) {
    enum { LANES = 16 };
    for (long block = 0; block < n; block += LANES) {
        uint32_t c[4][LANES];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int i = 0; i < LANES; i++) c[0][i] = (uint32_t)(first + block + i), c[1][i] = step, c[2][i] = purpose, c[3][i] = 0;
        for (int round = 0; round < 10; round++) {
            for (int i = 0; i < LANES; i++) {
                uint64_t p0 = (uint64_t)0xD2511F53u * c[0][i], p1 = (uint64_t)0xCD9E8D57u * c[2][i];
                c[0][i] = (uint32_t)(p1 >> 32) ^ c[1][i] ^ k0;
                c[2][i] = (uint32_t)(p0 >> 32) ^ c[3][i] ^ k1;
                c[1][i] = (uint32_t)p1;
                c[3][i] = (uint32_t)p0;
            }
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int k = 0; k < 4; k++) memcpy(out + k * n + block, c[k], sizeof c[k]);
    }
}

/* Words 0 .. n - 1: word i is word i % 4 of block i / 4. */
void philox_words(uint64_t seed, uint32_t purpose, uint32_t step, long n, uint32_t *restrict out) {
    enum { BLOCKS = 16 };
    uint32_t part[4 * BLOCKS];
    for (long block = 0; 4 * block < n; block += BLOCKS) {
        philox_blocks(seed, purpose, step, block, BLOCKS, part);
        for (int i = 0; i < 4 * BLOCKS && 4 * block + i < n; i++) out[4 * block + i] = part[i % 4 * BLOCKS + i / 4];
    }
}

/* keep[i] is bit i % 32 of word i / 32. */
void dropout_mask(uint64_t seed, uint32_t purpose, uint32_t step, long n, uint32_t *restrict words, uint8_t *restrict keep) {
    philox_words(seed, purpose, step, (n + 31) / 32, words);
    for (long i = 0; i < n; i++) keep[i] = (words[i / 32] >> (i % 32)) & 1;
}

/* ---- images ---- */

/* uint8 images (batch, planes, area), planes 1 or 3, as (batch, area, 3) in [0, 1]. */
void images_in(const uint8_t *images, int batch, int planes, int area, int bf16, void *out) {
    real values[3 * ROW];
    for (int b = 0; b < batch; b++) {
        const uint8_t *image = images + (long)b * planes * area;
        for (int first = 0; first < area; first += ROW) {
            int n = area - first < ROW ? area - first : ROW;
            for (int k = 0; k < 3; k++) {
                const uint8_t *restrict plane = image + (planes == 3 ? k * area : 0) + first;
                for (int i = 0; i < n; i++) values[3 * i + k] = (real)((float)plane[i] / 255.0f);
            }
            store(out, bf16, ((long)b * area + first) * 3, 3 * n, values);
        }
    }
}

/* Noise of the augmentation (builders/recipe/augmentation.py): out = clip(x + std * noise, 0, 1).
 * x (images, planes, area), planes 1 or 3; out (images, area, 3). An image's 3 x area values, channel by channel, are eight runs
 * of `blocks`: run 2 k + h takes word k of every block, the lower 16 bits for h = 0, through the table of normal quantiles. */
void add_noise(
    const float *x, int images, int planes, int area, const float *std, const float *table, uint64_t seed, uint32_t purpose,
    uint32_t step, long first_image, uint32_t *restrict words, float *restrict noise, float *restrict out
) {
    long blocks = 3 * area / 8;
    for (int b = 0; b < images; b++) {
        philox_blocks(seed, purpose, step, (first_image + b) * blocks, blocks, words);
        for (int k = 0; k < 4; k++) {
            const uint32_t *restrict word = words + k * blocks;
            float *restrict low = noise + 2 * k * blocks, *restrict high = low + blocks;
            for (long i = 0; i < blocks; i++) low[i] = table[word[i] & 0xffff];
            for (long i = 0; i < blocks; i++) high[i] = table[word[i] >> 16];
        }
        for (int c = 0; c < 3; c++) {
            const float *restrict plane = x + ((long)b * planes + (planes == 3 ? c : 0)) * area;
            const float *restrict own = noise + (long)c * area;
            float *restrict to = out + (long)b * area * 3 + c;
            for (int i = 0; i < area; i++) {
                float value = own[i] * std[b] + plane[i];
                value = value < 0 ? 0 : value;
                to[3 * i] = value > 1 ? 1 : value;
            }
        }
    }
}
