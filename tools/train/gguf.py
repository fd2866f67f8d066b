"""Writes and reads the GGUF files of this project: F32 and Q1_0 tensors, 32-byte alignment, version 3."""
import struct

import numpy as np

F32, Q1_0 = 0, 41
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
ALIGN = 32


def _string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def encode_q1_0(signs, scales):
    """signs: bool [rows, inputs], scales: fp16 [rows, inputs / 128] -> bytes; block = fp16 scale, 128 bits, lowest bit first."""
    rows, width = signs.shape
    bits = np.packbits(signs.reshape(rows, width // 128, 128), axis=2, bitorder="little")
    return np.concatenate([scales.astype("<f2")[..., None].view(np.uint8), bits], axis=2).tobytes()


def decode_q1_0(data, rows, width):
    blocks = np.frombuffer(data, np.uint8).reshape(rows, width // 128, 18)
    scales = blocks[..., :2].copy().view("<f2").astype(np.float32)
    signs = np.unpackbits(blocks[..., 2:], axis=2, bitorder="little").astype(np.float32) * 2 - 1
    return (signs * scales).reshape(rows, width)


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)], a kind of (ARRAY, element kind) for arrays; tensors: [(name, shape [out, in] or [n], type, bytes)]"""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, kind, value in metadata:
        head.append(_string(key))
        if isinstance(kind, tuple):
            head.append(struct.pack("<IIQ", ARRAY, kind[1], len(value)) + b"".join(_value(kind[1], v) for v in value))
        else:
            head.append(struct.pack("<I", kind) + _value(kind, value))
    offset = 0
    for name, shape, kind, data in tensors:
        dims = shape[::-1]                              # GGUF lists the contiguous dimension first
        head.append(_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset))
        offset += -(-len(data) // ALIGN) * ALIGN
    blob = b"".join(head)
    with open(path, "wb") as f:
        f.write(blob + b"\0" * (-len(blob) % ALIGN))
        for _, _, _, data in tensors:
            f.write(data + b"\0" * (-len(data) % ALIGN))


def read(path):
    """-> metadata dict, tensors {name: float32 array [out, in]}"""
    with open(path, "rb") as f:
        data = f.read()
    at = 0

    def take(fmt):
        nonlocal at
        out = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return out if len(out) > 1 else out[0]

    def string():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode("utf-8")

    def value(kind):
        if kind == STRING:
            return string()
        if kind == ARRAY:
            inner, n = take("IQ")
            return [value(inner) for _ in range(n)]
        return take({U32: "I", I32: "i", FLOAT: "f", BOOL: "?"}[kind])

    assert take("4s") == b"GGUF" and take("I") == 3
    n_tensors, n_keys = take("QQ")
    metadata = {}
    for _ in range(n_keys):
        key = string()
        metadata[key] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name = string()
        n = take("I")
        dims = [take("Q") for _ in range(n)]
        infos.append((name, dims[::-1], *take("IQ")))
    base = -(-at // ALIGN) * ALIGN
    tensors = {}
    for name, shape, kind, offset in infos:
        count = int(np.prod(shape))
        if kind == F32:
            tensors[name] = np.frombuffer(data, "<f4", count, base + offset).reshape(shape)
        else:
            assert kind == Q1_0
            raw = data[base + offset:base + offset + count // 128 * 18]
            tensors[name] = decode_q1_0(raw, *shape)
    return metadata, tensors
