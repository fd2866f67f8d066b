"""Checkpoints: weights in full, AdamW's moments in 8 bits each, so that a 5 M parameter model takes 33 MB."""
import json
import os

import numpy as np

GROUP = 128


def save(path, config, step, latent, mom, var):
    pad = -len(mom) % GROUP
    groups = np.pad(mom, (0, pad)).reshape(-1, GROUP)
    scale = np.abs(groups).max(1, keepdims=True) / 127 + 1e-30
    # the second moment spans many decades: its logarithm in eighths of a binary step
    log_var = np.clip(np.rint(8 * (np.log2(np.sqrt(var) + 1e-12) + 40)), 0, 255).astype(np.uint8)
    with open(path + ".tmp", "wb") as f:
        np.savez(f, config=json.dumps(config), step=step, latent=latent, mom=np.rint(groups / scale).astype(np.int8),
                 mom_scale=scale.astype(np.float32), log_var=log_var)
    os.replace(path + ".tmp", path)


def load(path):
    """-> config, step, latent, mom, var"""
    z = np.load(path)
    latent = z["latent"]
    mom = (z["mom"] * z["mom_scale"]).ravel()[:len(latent)].astype(np.float32)
    var = np.exp2(2 * (z["log_var"].astype(np.float32) / 8 - 40)).astype(np.float32)
    return json.loads(str(z["config"])), int(z["step"]), latent, mom, var
