"""Compares net.c with the same network written in PyTorch, in float64: loss and every gradient. Needs python3-torch."""
import numpy as np
import torch

from net import HEAD_DIM, Net, pack

HALF = HEAD_DIM // 2
LAYERS, HEADS, KV = 2, 4, 2


def rms(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w


def rope(x):
    """x: [tokens, heads, HEAD_DIM], pairs (i, i + HALF)"""
    angle = torch.arange(len(x), dtype=torch.float64)[:, None] * 10000.0 ** (-torch.arange(HALF, dtype=torch.float64) / HALF)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., :HALF], x[..., HALF:]
    return torch.cat([a * c - b * s, a * s + b * c], -1)


def losses(t, ids):
    """-> -log p of every next token, without activation quantization"""
    n = len(ids)
    x = t["token_embd.weight"][torch.tensor(ids)]
    for i in range(LAYERS):
        def w(name):
            return t[f"blk.{i}.{name}.weight"]
        h = rms(x, w("attn_norm"))
        q = rope(rms((h @ w("attn_q").T).view(n, HEADS, HEAD_DIM), w("attn_q_norm")))
        k = rope(rms((h @ w("attn_k").T).view(n, KV, HEAD_DIM), w("attn_k_norm"))).repeat_interleave(HEADS // KV, 1)
        v = (h @ w("attn_v").T).view(n, KV, HEAD_DIM).repeat_interleave(HEADS // KV, 1)
        scores = torch.einsum("ihd,jhd->hij", q, k) / HEAD_DIM ** 0.5
        scores = scores.masked_fill(torch.triu(torch.ones(n, n, dtype=bool), 1), -1e30).softmax(-1)
        x = x + torch.einsum("hij,jhd->ihd", scores, v).reshape(n, -1) @ w("attn_output").T
        h = rms(x, w("ffn_norm"))
        x = x + (torch.nn.functional.silu(h @ w("ffn_gate").T) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    z = rms(x, t["output_norm.weight"]) @ t["token_embd.weight"].T
    return torch.nn.functional.cross_entropy(z[:-1], torch.tensor(ids[1:]), reduction="none")


def main():
    rng = np.random.default_rng(0)
    net = Net(vocab=384, layers=LAYERS, heads=HEADS, kv=KV, ffn=384, quantize=False, cap=512)
    latent = net.initial(1)
    sequences = [(rng.integers(0, 384, n).tolist(), (rng.random(n) < 0.6).tolist()) for n in (70, 5, 133)]
    batch = pack(sequences)
    wanted = int((batch[3] >= 0).sum())
    net.use(latent)
    used = net.binarized().copy()
    tensors = {name: torch.tensor(used[at:at + int(np.prod(shape))].reshape(shape), dtype=torch.float64, requires_grad=True)
               for name, at, shape, _ in net.tensors()}
    loss = sum((losses(tensors, ids) * torch.tensor(scored[1:])).sum() for ids, scored in sequences) / wanted
    loss.backward()
    for exact, limit in ((True, 1e-5), (False, 3e-2)):
        net.exact(exact)
        grad = np.zeros(net.count, np.float32)
        mine = net.learn(batch, 1 / wanted, grad) / wanted
        worst = max((np.abs(grad[at:at + int(np.prod(shape))].reshape(shape) - tensors[name].grad.numpy()).max()
                     / tensors[name].grad.abs().max().item(), name) for name, at, shape, _ in net.tensors())
        print(f"{'fp32' if exact else 'bf16'}: loss {mine:.6f} against {loss.item():.6f}, worst gradient error {worst[0]:.1e} in {worst[1]}")
        assert worst[0] < limit


main()
