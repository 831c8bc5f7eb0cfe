"""PyTorch (eager, bf16) on the same shapes, one measurement in a process of its own; prints one line of JSON.

    python3 torch-decoder.py '{"measure": "text", "threads": 2, "prompt": 512, "steps": 16, "decoder": {...}, "vision": {...}}'

measure: "text" (prefill and decode of the decoder), "vision" (tower and projector, 1200 patches) or "large" (6144).
Random weights; what runs is what a plain model of transformers runs: linear layers, scaled_dot_product_attention, a
growing cache.
"""

import json
import resource
import sys
import time

import torch
import torch.nn.functional as F

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
torch.set_grad_enabled(False)
TYPE = torch.bfloat16
clock = time.process_time if settings.get("clock") == "processor" else time.perf_counter


def matrix(outputs, inputs):
    return torch.empty(outputs, inputs, dtype=TYPE).uniform_(-0.035, 0.035)


def rms_norm(x, weight, eps):
    y = x.float()
    return weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(TYPE)


class Decoder:
    def __init__(self, shape):
        self.shape = shape
        hidden, mlp, dim = shape["hidden"], shape["mlp"], shape["headDim"]
        heads, kv = shape["heads"], shape["kvHeads"]
        self.layers = [
            {
                "norm": torch.ones(hidden, dtype=TYPE),
                "norm2": torch.ones(hidden, dtype=TYPE),
                "q_norm": torch.ones(dim, dtype=TYPE),
                "k_norm": torch.ones(dim, dtype=TYPE),
                "q": matrix(heads * dim, hidden),
                "k": matrix(kv * dim, hidden),
                "v": matrix(kv * dim, hidden),
                "o": matrix(hidden, heads * dim),
                "gate": matrix(mlp, hidden),
                "up": matrix(mlp, hidden),
                "down": matrix(hidden, mlp),
            }
            for _ in range(shape["layers"])
        ]
        self.norm = torch.ones(hidden, dtype=TYPE)
        self.head = matrix(shape["vocab"], hidden)
        self.inv_freq = shape["ropeTheta"] ** (-torch.arange(0, dim, 2).float() / dim)

    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    def forward(self, x, cache):
        """x [T, hidden] at the positions behind the cache; logits [1, vocab] of the last row, and the new cache."""
        shape = self.shape
        rows, dim, eps = x.shape[0], shape["headDim"], shape["eps"]
        past = cache[0][0].shape[2] if cache else 0
        angles = torch.arange(past, past + rows).float()[:, None] * self.inv_freq
        cos, sin = (torch.cat((f, f), -1).to(TYPE) for f in (angles.cos(), angles.sin()))
        grown = []
        for n, w in enumerate(self.layers):
            y = rms_norm(x, w["norm"], eps)
            # [1, heads, T, dim]
            q, k, v = (F.linear(y, w[name]).view(1, rows, -1, dim).transpose(1, 2) for name in "qkv")
            q = self.rotate(rms_norm(q, w["q_norm"], eps), cos, sin)
            k = self.rotate(rms_norm(k, w["k_norm"], eps), cos, sin)
            if cache:
                k, v = torch.cat((cache[n][0], k), 2), torch.cat((cache[n][1], v), 2)
            grown.append((k, v))
            repeat = shape["heads"] // shape["kvHeads"]
            wide_k, wide_v = (t.repeat_interleave(repeat, 1) for t in (k, v))
            attended = F.scaled_dot_product_attention(q, wide_k, wide_v, is_causal=rows > 1)
            x = x + F.linear(attended.transpose(1, 2).reshape(rows, -1), w["o"])
            y = rms_norm(x, w["norm2"], eps)
            x = x + F.linear(F.silu(F.linear(y, w["gate"])) * F.linear(y, w["up"]), w["down"])
        return F.linear(rms_norm(x[-1:], self.norm, eps), self.head), grown


class Vision:
    def __init__(self, shape, outputs):
        self.shape = shape
        hidden, mlp = shape["hidden"], shape["mlp"]
        inner = hidden * shape["shuffle"] ** 2
        self.patch = matrix(hidden, shape["patch"])
        self.ones, self.zeros = torch.ones(hidden, dtype=TYPE), torch.zeros(hidden, dtype=TYPE)
        self.layers = [
            {
                **{name: matrix(hidden, hidden) for name in "qkvo"},
                "fc1": matrix(mlp, hidden),
                "bias1": torch.zeros(mlp, dtype=TYPE),
                "fc2": matrix(hidden, mlp),
            }
            for _ in range(shape["layers"])
        ]
        self.projector = matrix(shape["projector"], inner), matrix(outputs, shape["projector"])

    def norm(self, x):
        return F.layer_norm(x, x.shape[-1:], self.ones, self.zeros, 1e-6)

    def forward(self, patches):
        """patches [T, 768] of one picture; its tokens [T / 4, hidden of the decoder]."""
        shape = self.shape
        rows = patches.shape[0]
        x = F.linear(patches, self.patch, self.zeros)
        for w in self.layers:
            y = self.norm(x)
            q, k, v = (
                F.linear(y, w[name], self.zeros).view(1, rows, shape["heads"], shape["headDim"]).transpose(1, 2)
                for name in "qkv"
            )
            attended = F.scaled_dot_product_attention(q, k, v)
            x = x + F.linear(attended.transpose(1, 2).reshape(rows, -1), w["o"], self.zeros)
            y = F.gelu(F.linear(self.norm(x), w["fc1"], w["bias1"]), approximate="tanh")
            x = x + F.linear(y, w["fc2"], self.zeros)
        first, second = self.projector
        shuffled = self.norm(x).reshape(rows // shape["shuffle"] ** 2, -1)
        return F.linear(F.silu(F.linear(shuffled, first)), second)


def seconds(run):
    start = clock()
    result = run()
    return clock() - start, result


def text():
    shape, prompt, steps = settings["decoder"], settings["prompt"], settings["steps"]
    took, decoder = seconds(lambda: Decoder(shape))
    x = torch.randn(prompt, shape["hidden"], dtype=TYPE)
    decoder.forward(x[:32], None)
    prefill = decode = float("inf")
    for _ in range(2):
        once, (_, cache) = seconds(lambda: decoder.forward(x, None))
        prefill = min(prefill, once)
        start = clock()
        for _ in range(steps):
            _, cache = decoder.forward(x[:1], cache)
        decode = min(decode, clock() - start)
    return {"load_s": took, "prefill_tok_s": prompt / prefill, "decode_tok_s": steps / decode}


def picture(patches):
    tower = Vision(settings["vision"], settings["decoder"]["hidden"])
    x = torch.randn(patches, settings["vision"]["patch"], dtype=TYPE)
    tower.forward(x[:64])
    return {"vision_ms": 1000 * min(seconds(lambda: tower.forward(x))[0] for _ in range(2 if patches < 2000 else 1))}


measure = settings["measure"]
answer = text() if measure == "text" else picture(1200 if measure == "vision" else 6144)
answer["version"] = f"PyTorch {torch.__version__}"
answer["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps(answer))
