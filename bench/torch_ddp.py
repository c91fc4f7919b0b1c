#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A small training job by PyTorch's DistributedDataParallel, once over each of
NCCL's networks, and losses and gradients of every step compared: they are the same
to the last bit, or the network changed what was trained.

Each run is one process a rank, with a NCCL_HOSTID of its own, so that NCCL takes
them for hosts and several may share a GPU. Data, weights and algorithms are fixed.
With two ranks a sum has one order; with more, ring and protocol are fixed, too.

Exit status: 0 equal; 1 not equal, or a run failed; 2 wrong usage; 77 there is no
PyTorch, no GPU, or no such backend here.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

EXIT_SKIP = 77

# For ranks of one machine; what the user has set is left as it is.
DEFAULTS = {
    "NCCL_P2P_DISABLE": "1",
    "NCCL_SHM_DISABLE": "1",
    "NCCL_MNNVL_ENABLE": "0",
    "NCCL_NVLS_ENABLE": "0",
    "NCCL_RAS_ENABLE": "0",
    "NCCL_NET_GDR_LEVEL": "SYS",
    "NCCL_SOCKET_IFNAME": "lo",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_NET_PLUGIN_REF_COUNT": "1",
    "NCCL_DEBUG_SUBSYS": "INIT,NET",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_NUM_THREADS": "1",
}
MORE_RANKS = {"NCCL_ALGO": "Ring", "NCCL_PROTO": "Simple", "NCCL_MAX_CTAS": "2"}


def arguments():
    here = os.path.dirname(os.path.realpath(__file__))
    p = argparse.ArgumentParser(
        description="Trains the same over each network, and compares the losses.")
    p.add_argument("--backend", default="nccl", choices=["nccl", "gloo"],
                   help="gloo: a dry run on CPUs, without NCCL and plugin")
    p.add_argument("--nets", default="Socket,devmem",
                   help="NCCL_NET of the runs (default %(default)s)")
    p.add_argument("--plugin",
                   default=os.path.join(here, "..", "build", "plugin",
                                        "libnccl-net-devmem.so"),
                   help="NCCL_NET_PLUGIN for networks that are not NCCL's own")
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--width", type=int, default=256,
                   help="of the model (default %(default)s: 3 million weights)")
    p.add_argument("--timeout", type=float, default=120, metavar="SECONDS",
                   help="of each run")
    p.add_argument("--spoil", type=int, default=-1, metavar="STEP",
                   help="flip a bit of a gradient at that step of the last run, "
                        "to see that it is noticed")
    p.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.ranks < 2 or a.steps < 1 or a.layers < 1 or a.width < 8 or a.width % 8:
        p.error("want 2 ranks or more, a step or more, and a width that is a "
                "multiple of 8")
    if len(a.nets.split(",")) < 2:
        p.error("--nets: one network compares nothing")
    return a


# ---- a rank ------------------------------------------------------------------


def make_model(torch, layers, width):
    """Attention and a perceptron, without dropout: nothing in it is random, and
    nothing but matrix products and sums of fixed order is differentiated."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = torch.nn.LayerNorm(width)
            self.norm2 = torch.nn.LayerNorm(width)
            self.qkv = torch.nn.Linear(width, 3 * width)
            self.out = torch.nn.Linear(width, width)
            self.up = torch.nn.Linear(width, 4 * width)
            self.down = torch.nn.Linear(4 * width, width)

        def forward(self, x):
            b, t, w = x.shape
            qkv = self.qkv(self.norm1(x)).view(b, t, 8, 3 * w // 8)
            q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)
            score = torch.softmax(q @ k.transpose(-2, -1) / (w // 8) ** 0.5, -1)
            x = x + self.out((score @ v).transpose(1, 2).reshape(b, t, w))
            return x + self.down(torch.relu(self.up(self.norm2(x))))

    torch.manual_seed(1)
    return torch.nn.Sequential(*[Block() for _ in range(layers)],
                               torch.nn.Linear(width, width))


def flip(torch, model):
    """The lowest bit of the first weight's gradient."""
    grad = next(model.parameters()).grad
    bits = grad.view(-1)[:1].view(torch.int32)
    bits ^= 1


def digest(tensors):
    h = hashlib.sha256()
    for t in tensors:
        h.update(t.cpu().numpy().tobytes())
    return h.hexdigest()


def train(torch, a, rank, device):
    model = make_model(torch, a.layers, a.width).to(device)
    ids = [device.index] if device.type == "cuda" else None
    # Small buckets: more messages, of more sizes.
    ddp = torch.nn.parallel.DistributedDataParallel(model, device_ids=ids,
                                                    bucket_cap_mb=1)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05, momentum=0.9)
    data = torch.Generator().manual_seed(1000 + rank)
    losses, gradients = [], []
    seconds = 0.0
    for step in range(a.steps):
        start = time.monotonic()
        x = torch.randn(4, 32, a.width, generator=data).to(device)
        y = torch.roll(x, 1, dims=1)
        optimizer.zero_grad()
        loss = ((ddp(x) - y) ** 2).mean()
        loss.backward()
        if step == a.spoil and rank == 0:
            flip(torch, model)
        optimizer.step()
        losses.append(loss.item())
        seconds += time.monotonic() - start
        gradients.append(digest(p.grad for p in model.parameters()))
    return {"losses": [x.hex() for x in losses], "seconds": seconds,
            "gradients": gradients,
            "weights": digest(p.detach() for p in model.parameters()),
            "count": sum(p.numel() for p in model.parameters())}


def worker(a):
    import torch
    import torch.distributed as dist

    rank, store = int(a.worker[0]), a.worker[1]
    torch.use_deterministic_algorithms(True)
    if a.backend == "nccl":
        device = torch.device("cuda", rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = False
    else:
        device = torch.device("cpu")
        torch.set_num_threads(1)
    dist.init_process_group(a.backend, init_method="file://" + store, rank=rank,
                            world_size=a.ranks)
    result = train(torch, a, rank, device)
    dist.destroy_process_group()
    print(json.dumps(result))


# ---- the launcher ------------------------------------------------------------


def missing(a):
    """Why this machine cannot do it, or None."""
    try:
        import torch
        import torch.distributed as dist
    except ImportError as e:
        return "there is no PyTorch: %s" % e
    if not dist.is_available():
        return "this PyTorch has no torch.distributed"
    if a.backend == "gloo":
        return None if dist.is_gloo_available() else "PyTorch has no gloo"
    if not torch.cuda.is_available():
        return "PyTorch %s sees no GPU" % torch.__version__
    if not dist.is_nccl_available():
        return "PyTorch has no NCCL"
    return None


def environment(a, net, rank, log):
    env = dict(os.environ)
    for name, value in DEFAULTS.items():
        env.setdefault(name, value)
    if a.ranks > 2:
        for name, value in MORE_RANKS.items():
            env.setdefault(name, value)
    own = net.lower() in ("socket", "ib")
    env.update(NCCL_NET=net, NCCL_NET_PLUGIN="none" if own else a.plugin,
               NCCL_HOSTID="torch-ddp-%d-%d" % (os.getpid(), rank),
               NCCL_DEBUG="INFO", NCCL_DEBUG_FILE=log)
    return env


def end(process):
    """Ends what is left of a rank's process group."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait(timeout=10)


def used_network(log):
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            found = re.findall(r"NCCL INFO Using network (\S+)", f.read())
    except OSError:
        return None
    return found[-1] if found else None


def run(a, net, folder, spoil):
    """The results of all ranks; a string that says why there are none."""
    processes, results = [], []
    logs = [os.path.join(folder, "nccl%d.log" % r) for r in range(a.ranks)]
    try:
        for rank in range(a.ranks):
            command = [sys.executable, os.path.realpath(__file__)]
            command += ["--worker", str(rank), os.path.join(folder, "store")]
            for name in ("backend", "ranks", "steps", "layers", "width"):
                command += ["--" + name, str(getattr(a, name))]
            command += ["--spoil", str(spoil)]
            processes.append(subprocess.Popen(
                command, env=environment(a, net, rank, logs[rank]),
                stdin=subprocess.DEVNULL, start_new_session=True,
                stdout=open(os.path.join(folder, "out%d" % rank), "wb")))
        until = time.monotonic() + a.timeout
        for rank, process in enumerate(processes):
            try:
                status = process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                return "rank %d: no end within %g s" % (rank, a.timeout)
            if status:
                return "rank %d: exit status %d" % (rank, status)
            with open(os.path.join(folder, "out%d" % rank),
                      encoding="utf-8") as f:
                results.append(json.loads(f.read().splitlines()[-1]))
    except (OSError, ValueError, IndexError) as e:
        return str(e)
    finally:
        for process in processes:
            end(process)
    for rank, log in enumerate(logs if a.backend == "nccl" else []):
        used = used_network(log)
        if used is None or used.lower() != net.lower():
            return "rank %d: NCCL used the network %s" % (rank, used)
    return results


def compare(nets, runs):
    """Prints what differs; is it nothing?"""
    equal, largest = True, 0.0
    for net, results in zip(nets[1:], runs[1:]):
        for rank, (one, other) in enumerate(zip(runs[0], results)):
            for step, (x, y) in enumerate(zip(one["losses"], other["losses"])):
                difference = abs(float.fromhex(x) - float.fromhex(y))
                largest = max(largest, difference)
                if x != y and equal:
                    print("first difference: %s, rank %d, step %d: %s, not %s"
                          % (net, rank, step, y, x))
                equal = equal and x == y
            steps = [i for i, g in enumerate(one["gradients"])
                     if g != other["gradients"][i]]
            if steps:
                print("%s, rank %d: other gradients in %d steps, first in %d" %
                      (net, rank, len(steps), steps[0]))
            if one["weights"] != other["weights"]:
                print("%s, rank %d: other weights at the end" % (net, rank))
            equal = equal and not steps and one["weights"] == other["weights"]
    for net, results in zip(nets, runs):
        if len({r["weights"] for r in results}) > 1:
            print("%s: ranks differ in their weights at the end" % net)
            equal = False
    print("largest difference of losses: %g" % largest)
    return equal


def main():
    a = arguments()
    if a.worker:
        worker(a)
        return 0
    why = missing(a)
    if why:
        print("SKIP: %s" % why)
        return EXIT_SKIP
    import torch
    print("# PyTorch %s, backend %s, %d ranks on %s" %
          (torch.__version__, a.backend, a.ranks, socket.gethostname()))
    nets, runs = a.nets.split(","), []
    for i, net in enumerate(nets):
        with tempfile.TemporaryDirectory(prefix="torch-ddp.") as folder:
            last = i == len(nets) - 1
            results = run(a, net, folder, a.spoil if last else -1)
        if isinstance(results, str):
            print("%s: %s" % (net, results))
            print("FAILED")
            return 1
        runs.append(results)
        losses = [float.fromhex(x) for x in results[0]["losses"]]
        print("%-10s %d weights, %d steps, loss %.6f to %.6f, %.1f ms a step" %
              (net, results[0]["count"], len(losses), losses[0], losses[-1],
               results[0]["seconds"] / len(losses) * 1e3))
    equal = compare(nets, runs)
    print("OK: equal to the last bit" if equal else "FAILED: not equal")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
