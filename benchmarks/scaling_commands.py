"""The section of docs/scaling.md that says what to type."""

from __future__ import annotations

from collections.abc import Sequence

from scaling_model import LARGE_BATCH, LINKS, NODE_GPUS, Model, compute_speedup, find_useful_gpus

MACHINES = 8
ALL_GPUS = MACHINES * NODE_GPUS
GROUP = 4  # rows of which progan-tf's D takes a standard deviation
TORCHRUN = f"torchrun --nproc-per-node {NODE_GPUS} -m ganzoo_core run"
SRUN = f"srun --nodes {MACHINES} --ntasks-per-node {NODE_GPUS} --gpus-per-node {NODE_GPUS} --cpus-per-task 8"
MEET = "--rdzv-backend c10d --rdzv-endpoint first-machine:29500 --rdzv-id 7"


def make_commands(models: Sequence[Model]) -> list[str]:
    """What to type with 8 and with 64 GPUs."""
    known = {model.name: model for model in models}
    small, heavy, growing = known["dcgan-torch"], known["r3gan-torch"], known["progan-tf"]
    many = [model.name for model in models if find_useful_gpus(model, model.batch, LINKS[0]) >= NODE_GPUS]
    few = [model.name for model in models if model.name not in many]
    eight, all_of_them = (compute_speedup(heavy, heavy.batch, ranks, LINKS[0]) for ranks in (NODE_GPUS, ALL_GPUS))
    faces = f"    --data folder:/shared/faces --batch-size {heavy.batch} --out /shared/runs/faces"
    return [
        "## What to type",
        f"First ask whether one run needs them. {join_names(few)} do not fill eight GPUs with their published batches: "
        "several runs beside each other, of other seeds, settings or data, are the better use. These need no network "
        "between GPUs, change nothing of the recipe, and a GPU that fails ends one run. "
        f"{join_names(many)} do fill eight.",
        f"**{NODE_GPUS} GPUs of one machine**",
        to_block(
            "# eight runs, a GPU each, and an eighth of the cores (here of 32)",
            "for gpu in 0 1 2 3 4 5 6 7; do",
            f"    CUDA_VISIBLE_DEVICES=$gpu ganzoo run {small.name} --data folder:faces --seed $gpu \\",
            "        --set engine.threads=4 --out runs/$gpu &",
            "done; wait",
            f"# one run in PyTorch: its published batch, {heavy.batch // NODE_GPUS} rows a GPU",
            f"{TORCHRUN} {heavy.name} --data folder:faces --set data.size={heavy.size} --batch-size {heavy.batch}",
            f"# one run with batch norm: its published batch of {small.batch} on each GPU",
            f"{TORCHRUN} {small.name} --data folder:faces --batch-size {small.batch * NODE_GPUS}",
            f"# one run in TensorFlow: {GROUP} rows a GPU, twice its published batch",
            f"{TORCHRUN} {growing.name} --data folder:faces "
            f"--set data.size={growing.size} --batch-size {GROUP * NODE_GPUS}",
        ),
        f"**{ALL_GPUS} GPUs of eight machines**, with `/shared` on a disk that all of them see:",
        to_block(
            f"# {ALL_GPUS} runs, a GPU each: a job array, each job of which goes on past its time limit",
            f"ganzoo sweep {small.name} --data folder:/shared/faces --over seed=0,1,2,3,4,5,6,7 \\",
            "    --over train.lr=5e-5,1e-4,2e-4,4e-4 --over model.width=64,128 \\",
            f"    --out /shared/runs/widths --list slurm --jobs {ALL_GPUS} --gpus 1 --time 8:00:00",
            "sbatch /shared/runs/widths/sweep.sbatch",
            f"# one run in PyTorch, by srun: its published batch, {heavy.batch // ALL_GPUS} rows a GPU",
            f"{SRUN} ganzoo run {heavy.name} --set data.size={heavy.size} \\",
            faces,
            "# the same without Slurm, on each of the machines",
            f"torchrun --nnodes {MACHINES} --nproc-per-node {NODE_GPUS} {MEET} \\",
            f"    -m ganzoo_core run {heavy.name} --set data.size={heavy.size} \\",
            faces,
            f"# one run in TensorFlow, by srun or TF_CONFIG, since torchrun starts one machine's: {GROUP} rows a GPU",
            f"{SRUN} ganzoo run {growing.name} --set data.size={growing.size} \\",
            f"    --data folder:/shared/faces --batch-size {GROUP * ALL_GPUS} --out /shared/runs/growing",
        ),
        f"`{heavy.name}` at its published size and batch would be {eight:.1f} times as fast with {NODE_GPUS} GPUs and "
        f"{all_of_them:.0f} times with {ALL_GPUS}. `{growing.name}`'s last command has "
        f"{GROUP * ALL_GPUS // growing.batch} times its published batch of {growing.batch}, which nobody has shown "
        f"to work, and its first stages are too small for so many. Beyond {LARGE_BATCH:,} images nothing "
        "is known to help.",
        "`--batch-size` is that of all GPUs together, a multiple of their number. The learning rate stays as it is "
        "unless `--set train.lr=…` changes it. A batch that does not fit is taken "
        "[in parts](step.md#a-batch-in-parts): `--set train.accumulate=2`.",
    ]


def join_names(names: Sequence[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join(part for part in (", ".join(quoted[:-1]), *quoted[-1:]) if part)


def to_block(*lines: str) -> str:
    """A block of shell."""
    return "\n".join(("```sh", *lines, "```"))
