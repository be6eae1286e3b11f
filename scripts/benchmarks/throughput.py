"""`throughput`: four networks in cnnkit, plain Keras and PyTorch, against the machine's own matrix product."""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import networks
from benchmarks.figures import best_ratio, peak_mebibytes, ratios, run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import Measured, race, say
from benchmarks.products import product_flop

CNNKIT = "cnnkit"

#: What may run beside cnnkit: how it is called in tables, and what its process does.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "keras": ("plain Keras", {"kind": "keras"}),
    # What Keras chose for itself until it left XLA off where there is no GPU.
    "keras-xla": ("plain Keras with XLA", {"kind": "keras", "jit": True}),
    "torch": ("PyTorch eager", {"kind": "torch"}),
}
#: What makes the matrix product in each precision.
PRODUCTS: dict[str, dict[str, str]] = {
    "float32": {"numpy-product": "NumPy's BLAS", "tensorflow-product": "TensorFlow with oneDNN"},
    "bfloat16": {"tensorflow-product": "TensorFlow with oneDNN", "torch-product": "PyTorch with oneDNN"},
}

#: Keras' dtype policy for each precision.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

#: Matrix products per repeat.
PRODUCT_COUNT = 8


#: What makes the libraries do without AVX-512; the contestants inherit it.
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
}


def measure(
    names: list[str],
    augmentation: str | None,
    images: int,
    repeats: int,
    contestants: list[str],
    *,
    as_avx2: bool = False,
    precision: str = "float32",
) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        names: Networks, as in `networks.TITLES`.
        augmentation: For all networks; None for each one's usual.
        images: Images in a repeat.
        contestants: Names of `OTHERS` to run beside cnnkit; `torch` is left out where it is not installed.
        as_avx2: Whether to measure as on a processor without AVX-512.
        precision: Of `POLICIES`: what all compute in; beside bfloat16, cnnkit also runs in float32.
    """
    found: dict[str, Any] = {
        "images": images,
        "repeats": repeats,
        "precision": precision,
        "skipped": [],
        "networks": {},
    }
    if as_avx2:
        os.environ.update(AVX2)
        found["skipped"].append("AVX-512 was left unused, and plain Keras had no oneDNN, as with AVX2 only.")
    products = dict(PRODUCTS[precision])
    if importlib.util.find_spec("torch") is None:
        products.pop("torch-product", None)
        if "torch" in contestants:
            contestants = [name for name in contestants if name != "torch"]
            found["skipped"].append("PyTorch is not installed: its columns are left out.")
    for name in names:
        used = augmentation or networks.USUAL_AUGMENTATION[name]
        say(f"{networks.TITLES[name]}, augmentation: {used}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            found["networks"][name] = _measure_network(
                name, used, images, repeats, contestants, products, path, as_avx2, precision
            )
    return found


def _measure_network(
    name: str,
    augmentation: str,
    images: int,
    repeats: int,
    contestants: list[str],
    products: dict[str, str],
    folder: Path,
    as_avx2: bool,
    precision: str,
) -> dict[str, Any]:
    config = networks.write_config(name, augmentation, folder)
    overrides = [f"data.splits.train=train[:{images}]"]
    found = write_images(config, overrides, images, folder)
    plain = {"network": name, "augmentation": augmentation, "arrays": found.path}
    entries: list[tuple[str, dict[str, Any]]] = [
        (title, {"kind": "cnnkit", "config": str(config), "overrides": changes, "arrays": found.stand_in})
        for title, changes in _own(overrides, precision)
    ]
    for other in contestants:
        title, spec = OTHERS[other]
        onednn = {"onednn": False} if as_avx2 and spec["kind"] == "keras" else {}
        computes = {"precision": precision} if spec["kind"] == "torch" else {"policy": POLICIES[precision]}
        entries.append((title, {**spec, **plain, **onednn, **computes}))
    for kind, title in products.items():
        # NumPy has no bfloat16.
        computes = {} if kind == "numpy-product" else {"precision": precision}
        entries.append((title, {"kind": kind, "count": PRODUCT_COUNT, **computes}))
    measured = race(entries, repeats)
    return {
        "augmentation": augmentation,
        "images": found.described(),
        "training_flop": networks.training_flop(config),
        "contestants": [one for one in measured if one.title not in products.values()],
        "products": [one for one in measured if one.title in products.values()],
    }


def _own(overrides: list[str], precision: str) -> list[tuple[str, list[str]]]:
    """cnnkit's contestants, each with its changes of the config; what the others are compared with comes first."""
    if precision == "float32":
        return [(CNNKIT, [*overrides, "training.dtype_policy=float32"])]
    computing = [(CNNKIT, precision), (f"{CNNKIT} in float32", "float32")]
    return [(title, [*overrides, f"training.dtype_policy={POLICIES[name]}"]) for title, name in computing]


def markdown(found: dict[str, Any]) -> str:
    """The figures as tables."""
    parts = [
        f"{found['repeats']} interleaved repeats of {found['images']:,} images in batches of {networks.BATCH_SIZE}, "
        "each contestant a process of its own; one epoch before them is not counted. Where a range is given, the "
        "first figure is the median."
        + (" All compute in bfloat16 but for cnnkit in float32." if found.get("precision") == "bfloat16" else ""),
        *found["skipped"],
    ]
    for name, network in found["networks"].items():
        parts += [f"### {networks.TITLES[name]}", *_network_tables(network, found["images"])]
    return "\n\n".join(parts) + "\n"


def _network_tables(network: dict[str, Any], images: int) -> list[str]:
    flop = product_flop(PRODUCT_COUNT)
    rate, title = max((flop / min(one.values("wall_seconds")), one.title) for one in network["products"])
    per_cpu_second = max(flop / statistics.median(one.values("cpu_seconds")) for one in network["products"])
    rows = [_row(one, images, network["training_flop"], rate, per_cpu_second) for one in network["contestants"]]
    header = ["", "images/s, best", "median", "CPU s per 1,000 images", "peak memory", "of the product", "in CPU time"]
    texts = [
        f"{network['images']}, augmentation: {network['augmentation']}. {network['training_flop'] / 1e9:.3g} GFLOP per "
        f"image and training step; matrix product {rate / 1e9:.0f} GFLOP/s ({title}), "
        f"{per_cpu_second / 1e9:.0f} GFLOP per CPU second.",
        table(header, rows),
    ]
    compared = _ratio_rows(network["contestants"])
    if compared:
        texts.append(table(["", "CPU time", "wall time, best"], compared))
    return texts + run_notes([*network["contestants"], *network["products"]])


def _row(measured: Measured, images: int, flop: int, rate: float, per_cpu_second: float) -> list[str]:
    walls = measured.values("wall_seconds")
    cpu_seconds = statistics.median(measured.values("cpu_seconds"))
    best = images / min(walls)
    return [
        measured.title,
        f"{best:,.0f}",
        f"{images / statistics.median(walls):,.0f}",
        spread([1000 * value / images for value in measured.values("cpu_seconds")], ".3g"),
        f"{peak_mebibytes(measured):,.0f} MiB",
        f"{flop * best / rate:.0%}",
        f"{flop * images / cpu_seconds / per_cpu_second:.0%}",
    ]


def _ratio_rows(contestants: list[Measured]) -> list[list[str]]:
    ours = contestants[0]
    return [
        [
            f"{other.title} / cnnkit",
            spread(ratios(other, ours, "cpu_seconds"), ".2f"),
            f"{best_ratio(other, ours):.2f}",
        ]
        for other in contestants[1:]
    ]
