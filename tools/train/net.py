"""Builds net.c and wraps it: a model is a flat float array of latent weights plus a Shape."""
import ctypes as C
import ctypes.util
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD_DIM = 64


class Shape(C.Structure):
    _fields_ = [(f, C.c_int) for f in ("vocab", "d", "layers", "heads", "kv", "ffn", "quantize_activations")] + [("theta", C.c_float)]


def build():
    out = os.path.join(HERE, "libnet.so")
    source = os.path.join(HERE, "net.c")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        if not ctypes.util.find_library("openblas"):
            sys.exit("net.py: OpenBLAS is missing: apt install libopenblas0-pthread")
        subprocess.run(["cc", "-std=gnu11", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fopenmp", "-fPIC",
                        "-shared", "-Wall", "-o", out + ".tmp", source, "-l:libopenblas.so.0", "-lm"], check=True)
        os.replace(out + ".tmp", out)
    lib = C.CDLL(out)
    lib.net_new.restype = C.c_void_p
    lib.net_count.restype = C.c_size_t
    lib.net_learn.restype = lib.net_adam.restype = C.c_double
    for f in ("net_logits", "net_where", "net_weights"):
        getattr(lib, f).restype = C.c_void_p
    return lib


def ints(values):
    return np.ascontiguousarray(values, dtype=np.int32)


def pointer(array):
    return C.c_void_p(array.ctypes.data)


class Net:
    def __init__(self, vocab, d=256, layers=6, heads=4, kv=2, ffn=768, theta=10000.0, quantize=True, cap=4096, max_pos=4096):
        self.lib = build()
        self.shape = Shape(vocab, d, layers, heads, kv, ffn, int(quantize), theta)
        self.cap, self.max_pos = cap, max_pos
        self.net = C.c_void_p(self.lib.net_new(C.byref(self.shape), cap, max_pos))
        self.count = self.lib.net_count(self.net)

    def exact(self, on):
        """fp32 products, or (where the CPU has it) bf16: for training."""
        self.lib.net_exact(int(on))

    def tensors(self):
        """Yields (GGUF name, offset, shape as [out, in] or [n], is a matrix) in the order of the flat array."""
        s, at = self.shape, 0
        dq, dkv = s.heads * HEAD_DIM, s.kv * HEAD_DIM
        layout = [("token_embd.weight", (s.vocab, s.d)), ("output_norm.weight", (s.d,))]
        for i in range(s.layers):
            layout += [(f"blk.{i}.{name}.weight", shape) for name, shape in (
                ("attn_norm", (s.d,)), ("attn_q", (dq, s.d)), ("attn_k", (dkv, s.d)), ("attn_v", (dkv, s.d)),
                ("attn_q_norm", (HEAD_DIM,)), ("attn_k_norm", (HEAD_DIM,)), ("attn_output", (s.d, dq)),
                ("ffn_norm", (s.d,)), ("ffn_gate", (s.ffn, s.d)), ("ffn_up", (s.ffn, s.d)), ("ffn_down", (s.d, s.ffn)))]
        for name, shape in layout:
            yield name, at, shape, len(shape) == 2
            at += int(np.prod(shape))
        assert at == self.count

    def initial(self, seed, std=0.05):
        """Normal with std 0.05 (training.md: at 0.02 signs flip too easily); what writes to the residual is smaller."""
        rng = np.random.default_rng(seed)
        p = np.ones(self.count, np.float32)
        for name, at, shape, matrix in self.tensors():
            if matrix:
                narrow = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = std / np.sqrt(2 * self.shape.layers) if narrow else std
                n = int(np.prod(shape))
                p[at:at + n] = rng.standard_normal(n, dtype=np.float32) * np.float32(scale)
        return p

    def use(self, latent):
        """Binarizes the latent weights; the next passes use them."""
        self.lib.net_binarize(self.net, pointer(latent))

    def binarized(self):
        return np.ctypeslib.as_array(C.cast(self.lib.net_weights(self.net), C.POINTER(C.c_float)), (self.count,))

    def learn(self, batch, scale, grad):
        token, start, pos, want = batch
        return self.lib.net_learn(self.net, pointer(token), pointer(start), pointer(pos), pointer(want), len(token),
                                  C.c_float(scale), pointer(grad))

    def adam(self, latent, grad, mom, var, lr, step):
        return self.lib.net_adam(self.net, pointer(latent), pointer(grad), pointer(mom), pointer(var), C.c_float(lr), step)

    def losses(self, batch):
        token, start, pos, want = batch
        out = np.empty(len(token) + 1, np.float32)
        n = self.lib.net_losses(self.net, pointer(token), pointer(start), pointer(pos), pointer(want), len(token), pointer(out))
        return out[:n]

    def logits(self, batch):
        """Logits of the positions with want >= 0 (a view, valid until the next call)."""
        token, start, pos, want = batch
        n = self.lib.net_forward(self.net, pointer(token), pointer(start), pointer(pos), pointer(want), len(token))
        return np.ctypeslib.as_array(C.cast(self.lib.net_logits(self.net), C.POINTER(C.c_float)), (n, self.shape.vocab)) if n else None


def pack(sequences):
    """[(ids, scored flags)] -> one batch: documents side by side, each predicting its next scored token."""
    token, start, pos, want = [], [], [], []
    for ids, scored in sequences:
        s = len(token)
        token += ids
        start += [s] * len(ids)
        pos += range(len(ids))
        want += [i if f else -1 for i, f in zip(ids[1:], scored[1:])] + [-1]
    return ints(token), ints(start), ints(pos), ints(want)
